#!/usr/bin/env python3
"""A second verifier of exports and evidence packs, in another language and with nothing of Posse's code: written from the texts
alone (spec/audit/README.md; C2SP signed-note, tlog-checkpoint, tlog-tiles; RFC 6962 and 9162 for trees and proofs, RFC 8785 for
canonical JSON, RFC 8032 for ed25519). Standard library only. Python 3.9 or later.

usage: verify.py FOLDER [--key FILE]... [--since FILE]... [--anchor FILE]...

Ends with 0 where all holds under a key that was brought, 3 where all holds and no key was given, 1 where something is wrong, 2
where the command line is not right. Says each fault on a line of its own. It must never import what it is held against.
"""
import base64
import bisect
import binascii
import datetime
import hashlib
import json
import os
import re
import stat
import sys
import unicodedata

INTEGER_MAX = 2**53 - 1
ENTRY_BYTES_MAX = 65_535
NOTE_BYTES_MAX = 64 * 1024
SIGNATURES_MAX = 16
ROTATIONS_MAX = 256
DEPTH_MAX = 127
SAMPLE_MAX = 1000


class Wrong(Exception):
    """What is wrong, in words."""


# ---------------------------------------------------------------- ed25519, RFC 8032 section 5.1

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def add(a, b):
    """Points in extended homogeneous coordinates (X, Y, Z, T)."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return (w * x % P, y * z % P, x * y % P, w * z % P)


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else (0, y, 1, 0)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
NEUTRAL = (0, 1, 1, 0)


def small(point):
    """Of small order: nobody's key, and no honest signature's."""
    return same(times(8, point), NEUTRAL)


def ed25519(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or s >= L or small(key) or small(commitment):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return same(times(s, BASE), add(commitment, times(k, key)))


# ---------------------------------------------------------------- JSON in one spelling, RFC 8785

ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def text_json(text):
    return '"' + "".join(ESCAPES.get(one, f"\\u{ord(one):04x}" if one < " " else one) for one in text) + '"'


def number_json(number):
    """As ECMAScript writes it (RFC 8785 section 3.2.2.3); whole numbers beyond 2^53 - 1 have no form here."""
    if number != number or number in (float("inf"), float("-inf")):
        raise Wrong("not a finite number")
    if float(number).is_integer():
        if abs(number) > INTEGER_MAX:
            raise Wrong("a whole number beyond 2^53")
        return str(int(number))
    mantissa, _, exponent = f"{number!r}".partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    digits, point = (whole + fraction).lstrip("0"), len(whole) + int(exponent or 0)
    point -= len(whole + fraction) - len((whole + fraction).lstrip("0"))
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        return sign + (digits[:point] + "." + digits[point:] if point < len(digits) else digits.ljust(point, "0"))
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    exponent = point - 1
    return f"{sign}{digits[0]}{'.' + digits[1:] if len(digits) > 1 else ''}e{'+' if exponent >= 0 else '-'}{abs(exponent)}"


def canonical(value, depth=0):
    if depth > DEPTH_MAX:
        raise Wrong("is nested too deep")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_json(value)
    if isinstance(value, str):
        return text_json(value)
    if isinstance(value, list):
        return "[" + ",".join(canonical(one, depth + 1) for one in value) + "]"
    members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(text_json(name) + ":" + canonical(one, depth + 1) for name, one in members) + "}"


def unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Wrong("a member stands twice")
    return members


def no_constant(word):
    raise Wrong(f"{word} is no JSON")


def parse(data):
    """The value on these bytes, where they are its canonical form."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
        if canonical(value).encode("utf-8") == data:
            return value
    except (ValueError, RecursionError, OverflowError):
        pass
    raise Wrong("is not canonical JSON")


# ---------------------------------------------------------------- signed notes, C2SP signed-note

def b64(text):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return data if base64.b64encode(data).decode("ascii") == text else None


def name_valid(name):
    odd = any(one == "+" or one.isspace() or unicodedata.category(one) == "Cc" for one in name)
    return 1 <= len(name) <= 128 and not odd


class Key:
    """A note verifier key: `<name>+<key id>+<base64 of 0x01 and the key>`."""

    def __init__(self, text):
        fields = text.split("+", 2)
        data = b64(fields[2]) if len(fields) == 3 else None
        if data is None or len(data) != 33 or data[0] != 1 or not name_valid(fields[0]):
            raise Wrong("is not a note verifier key")
        self.text, self.name, self.public = text, fields[0], data[1:]
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        point = decompress(self.public)
        if self.id.hex() != fields[1] or point is None or small(point):
            raise Wrong("is not a note verifier key")

    def __eq__(self, other):
        return self.text == other.text

    def __hash__(self):
        return hash(self.text)


class Note:
    def __init__(self, data):
        whole = data if isinstance(data, str) else decode_utf8(data)
        if len(whole.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX:
            raise Wrong("is no note: too long")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise Wrong("is no signed note")
        self.text, self.signatures = text + "\n", []
        if any(one != "\n" and one < " " for one in self.text):
            raise Wrong("is no signed note: control characters")
        for line in lines[:-1].split("\n"):
            fields = line[2:].split(" ", 1) if line.startswith("\u2014 ") else []
            data = b64(fields[1]) if len(fields) == 2 else None
            if data is None or len(data) <= 4 or not name_valid(fields[0]):
                raise Wrong("is no signed note: a signature line is none")
            self.signatures.append((fields[0], data[:4], data[4:]))
        if len(self.signatures) > SIGNATURES_MAX:
            raise Wrong("is no signed note: too many signatures")

    def check(self, keys):
        """A trusted key signed it, and no trusted key's signature is wrong."""
        signed = False
        for name, key_id, signature in self.signatures:
            key = next((one for one in keys if one.name == name and one.id == key_id), None)
            if key is not None:
                if not ed25519(key.public, self.text.encode("utf-8"), signature):
                    raise Wrong("the signature does not match the text")
                signed = True
        if not signed:
            raise Wrong("no trusted key signed it")


def decode_utf8(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("is not UTF-8") from None


def checkpoint(text):
    """Origin, size and root of a checkpoint's text; no extension lines."""
    lines = text.split("\n")
    root = b64(lines[2]) if len(lines) == 4 and lines[3] == "" and lines[0] else None
    if root is None or len(root) != 32 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise Wrong("is not a checkpoint")
    if int(lines[1]) > INTEGER_MAX:
        raise Wrong("is not a checkpoint")
    return lines[0], int(lines[1]), root


# ---------------------------------------------------------------- trees, RFC 6962 section 2.1

def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Merkle:
    """The hashes of a tree that grows: of every complete subtree, by height."""

    def __init__(self):
        self.levels = [[]]

    def __len__(self):
        return len(self.levels[0])

    def append(self, found):
        height = 0
        self.levels[0].append(found)
        while len(self.levels[height]) % 2 == 0:
            if len(self.levels) == height + 1:
                self.levels.append([])
            self.levels[height + 1].append(node_hash(*self.levels[height][-2:]))
            height += 1

    def over(self, low, high):
        """MTH over the entries from `low` to before `high`."""
        count = high - low
        if count == 0:
            return hashlib.sha256(b"").digest()
        if count & (count - 1) == 0 and low % count == 0:
            return self.levels[count.bit_length() - 1][low // count]
        k = 1 << (count - 1).bit_length() - 1
        return node_hash(self.over(low, low + k), self.over(low + k, high))

    def root(self):
        return self.over(0, len(self))

    def path(self, index, low, high):
        """PATH: the inclusion proof of an entry, lowest hash first."""
        if high - low <= 1:
            return []
        k = 1 << (high - low - 1).bit_length() - 1
        if index < low + k:
            return self.path(index, low, low + k) + [self.over(low + k, high)]
        return self.path(index, low + k, high) + [self.over(low, low + k)]


def included(leaf, index, size, proof, root):
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, found = index, size - 1, leaf
    for one in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(one, found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, one)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def digest_text(data):
    return "sha256:" + data.hex()


def digest_bytes(text):
    return bytes.fromhex(text[7:])


# ---------------------------------------------------------------- what an entry may say

def is_text(most):
    return lambda value: isinstance(value, str) and len(value) <= most and "\0" not in value


def is_id(*kinds):
    pattern = re.compile(f"(?:{'|'.join(kinds)})_[0-7][0-9a-hjkmnp-tv-z]{{25}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def is_number(most=INTEGER_MAX):
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_one(*words):
    return lambda value: value in words and isinstance(value, str)


def is_digest(value):
    return isinstance(value, str) and re.fullmatch("sha256:[0-9a-f]{64}", value) is not None


TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{0,5}[1-9]))?Z", re.ASCII)


def micros(value):
    found = TIME.fullmatch(value)
    instant = datetime.datetime.strptime(found[1] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    whole = (instant - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(seconds=1)
    return whole * 1_000_000 + int((found[2] or "0").ljust(6, "0"))


def is_time(value):
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return False
    try:
        micros(value)
    except ValueError:
        return False
    return True


def is_list(one, most, least=1):
    """An empty list is left out, unless it must be there."""
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(one(item) for item in value)


def is_object(required, optional=None):
    optional = optional or {}

    def check(value):
        if not isinstance(value, dict) or not required.keys() <= value.keys():
            return False
        known = {**required, **optional}
        return all(name in known and known[name](member) for name, member in value.items())

    return check


def is_version(value):
    return is_number()(value) and value == 1


def is_principal(value):
    of_platform = isinstance(value, str) and re.fullmatch("system_[a-z0-9-]{1,64}", value)
    return bool(of_platform) or is_id("agent", "rule", "sensor", "service", "user")(value)


CALL, TENANT = is_id("call"), is_id("tenant")
EFFECT, PHASE = is_one("govern", "read", "respond", "write"), is_one("call", "intent", "outcome")
TARGET = is_object({"id": is_text(256), "type": is_text(64)})
APPROVAL = is_object({"approval": is_id("approval"), "approvers": is_list(is_principal, 16, 0)})
DECISION = is_object(
    {"outcome": is_one("allow", "defer", "deny", "modify", "step_up")},
    {"obligations": is_list(is_text(128), 16), "policies": is_list(is_text(80), 32), "policy_version": is_digest, "rung": is_text(64)})
OUTCOME = is_object({"status": is_number(65_535)}, {"error": is_text(512), "problem": is_text(128)})
RECORD = is_object(
    {"call": CALL, "decision": DECISION, "duration_us": is_number(), "effect": EFFECT, "operation": is_text(128),
     "origin": is_object({"face": is_one("agent", "cli", "mcp", "offline", "rest", "rule", "schedule")},
                         {"address": is_text(64), "request": is_text(64), "user_agent": is_text(256)}),
     "outcome": OUTCOME, "phase": PHASE, "principal": is_principal, "time": is_time, "v": is_version},
    {"agent": is_object({}, {name: is_digest for name in ("charter", "model", "prompt", "skill")}),
     "aggregate": is_object({"count": is_number(), "since": is_time, "until": is_time}),
     "approvals": is_list(APPROVAL, 8), "input_digest": is_digest, "on_behalf_of": is_list(is_principal, 16),
     "run": is_id("run"), "target": TARGET, "tenant": TENANT})
HEAD = is_object({"root": is_digest, "size": is_number(), "tenant": TENANT, "time": is_time, "v": is_version})
ROTATION = is_object({"rotation": lambda value: isinstance(value, str), "time": is_time, "v": is_version})
MANIFEST = is_object(
    {"v": is_version, "log": lambda value: isinstance(value, str), "key": lambda value: isinstance(value, str),
     "created_at": is_time, "provider": lambda value: isinstance(value, bool), "tenants": is_list(TENANT, 1 << 40, 0),
     "files": is_list(is_object({"bytes": is_number(), "path": lambda value: isinstance(value, str), "sha256": is_digest}), 1 << 40, 0)},
    {"rotations": is_list(lambda value: isinstance(value, str), 1 << 40)})
PAYLOAD = is_object({"call": CALL, "input": lambda value: True,
                     "salt": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None})
FILTER = is_object({}, {"consequential": lambda value: value is True, "operation": is_text(128), "principal": is_principal,
                        "since": is_time, "until": is_time})
EVIDENCE = is_object(
    {"filter": FILTER,
     "policy_versions": is_list(is_object({"records": is_number()}, {"policy_version": is_digest}), 1 << 40, 0),
     "population": is_list(is_object({"log": is_text(128), "records": is_number(), "root": is_digest, "size": is_number()}), 1 << 40, 0),
     "sample": is_number(SAMPLE_MAX), "seed": is_text(128), "v": is_version})
ANCHOR = is_object({"checkpoints": is_list(is_text(4096), 512, 0), "log": is_text(128), "time": is_time, "v": is_version})


# ---------------------------------------------------------------- the folder

class Folder:
    """Files as the manifest states them, each read once and crossed off."""

    def __init__(self, root):
        self.root, self.faults, self.stated, self.abandoned = root, [], {}, []
        self.unread = set()
        if not os.path.isdir(root):
            raise Wrong("cannot be listed")
        for place, folders, files in os.walk(root, onerror=self.cannot):
            linked = [one for one in folders if os.path.islink(os.path.join(place, one))]
            for name in files + linked:
                self.unread.add(os.path.relpath(os.path.join(place, name), root).replace(os.sep, "/"))

    def cannot(self, error):
        raise Wrong(f"cannot be listed: {error}")

    def fault(self, file, why):
        self.faults.append(f"{file}: {why}")

    def bytes(self, name):
        full = os.path.join(self.root, name)
        try:
            if not stat.S_ISREG(os.lstat(full).st_mode):
                raise Wrong("is not a file")
            with open(full, "rb") as file:
                return file.read()
        except OSError as error:
            raise Wrong(f"cannot be read: {error}") from None

    def top(self, name):
        if name not in self.unread:
            self.fault(name, "is not in the folder")
            return None
        self.unread.remove(name)
        try:
            return self.bytes(name)
        except Wrong as wrong:
            self.fault(name, wrong)
            return None

    def read(self, name):
        stated = self.stated.pop(name, None)
        if name not in self.unread:
            self.fault(name, "is not in the folder")
            return None
        self.unread.remove(name)
        try:
            data = self.bytes(name)
        except Wrong as wrong:
            self.fault(name, wrong)
            return None
        if stated is None:
            self.fault(name, "is not in the manifest")
        elif stated != (len(data), digest_text(hashlib.sha256(data).digest())):
            self.fault(name, "is not what the manifest says")
        return data

    def finish(self):
        for name in sorted(self.unread):
            if name in self.stated and not any(name.startswith(folder) for folder in self.abandoned):
                self.fault(name, "belongs to no tree of this export")
            self.read(name)
        for name in self.stated:
            self.fault(name, "is in the manifest and not in the folder")


def number_path(number):
    groups = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        groups = f"x{number % 1000:03}/{groups}"
    return groups


def rotation_keys(data, log):
    note = Note(data)
    lines = note.text.split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != f"{log}/key-rotation":
        raise Wrong("is no change of key")
    old, new = Key(lines[1]), Key(lines[2])
    if old.name != log or new.name != log or old == new or len(note.signatures) != 2:
        raise Wrong("is no change of key of this log")
    note.check([old])
    note.check([new])
    return old, new


def chain(rotations, last, log):
    keys = []
    if len(rotations) > ROTATIONS_MAX:
        raise Wrong("too many changes of key")
    for data in rotations:
        old, new = rotation_keys(data, log)
        if (keys and keys[-1] != old) or new in keys:
            raise Wrong("the changes of key are no chain")
        keys = keys or [old]
        keys.append(new)
    if keys and keys[-1] != last:
        raise Wrong("the changes of key do not lead to the key")
    return keys or [last]


# ---------------------------------------------------------------- evidence

def consequential(record):
    return record["effect"] in ("govern", "respond") or bool(record.get("approvals")) or "rung" in record["decision"]


def takes(asked, record):
    return ((not asked.get("consequential") or consequential(record))
            and asked.get("operation", record["operation"]) == record["operation"]
            and asked.get("principal", record["principal"]) == record["principal"]
            and ("since" not in asked or micros(record["time"]) >= micros(asked["since"]))
            and ("until" not in asked or micros(record["time"]) < micros(asked["until"])))


class Evidence:
    """The evidence of a pack, made anew from the entries and compared byte for byte; proofs are checked besides."""

    def __init__(self, folder):
        self.folder = folder
        data = folder.read("evidence/evidence.json")
        self.stated = parse(data) if data is not None else None
        if self.stated is None or not EVIDENCE(self.stated):
            raise Wrong("is not a statement of evidence")
        self.trees, self.drawn, self.versions = {}, [], {}

    def tree(self, owner):
        return self.trees.setdefault(owner, {"hashes": Merkle(), "population": [], "answers": {}})

    def see(self, owner, entry_hash, record):
        tree = self.tree(owner)
        index = len(tree["hashes"])
        tree["hashes"].append(entry_hash)
        if record is None or "call" not in record:
            return None
        target = record.get("target")
        if record["operation"] in ("approval.approve", "approval.narrow") and record["outcome"]["status"] == 200:
            if target and target["type"] == "Approval":
                tree["answers"][target["id"], record["principal"]] = index
        if not takes(self.stated["filter"], record):
            return None
        tree["population"].append(index)
        version = record["decision"].get("policy_version")
        self.versions[version] = self.versions.get(version, 0) + 1
        rank = hashlib.sha256(f"posse-evidence/1\n{self.stated['seed']}\n{owner}\n{index}\n".encode()).digest()
        bisect.insort(self.drawn, (rank, owner, index, Once(record)))
        del self.drawn[self.stated["sample"]:]
        return {"call": record["call"], "index": index, "leaf_hash": digest_text(entry_hash)}

    def finish(self, owners):
        for owner in owners:
            self.tree(owner)
        stated = dict(self.stated)
        stated["population"] = [
            {"log": owner, "records": len(tree["population"]), "root": digest_text(tree["hashes"].root()), "size": len(tree["hashes"])}
            for owner, tree in sorted(self.trees.items(), key=lambda one: (one[0] != "provider", one[0]))]
        stated["policy_versions"] = [
            {"records": count, **({"policy_version": version} if version else {})}
            for version, count in sorted(self.versions.items(), key=lambda one: (one[0] is not None, one[0] or ""))]
        if stated != self.stated:
            self.folder.fault("evidence/evidence.json", "is not what the log gives")
        data = self.folder.read("evidence/sample.jsonl")
        if data is None:
            return
        lines = []
        for rank, owner, index, record in self.drawn:
            lines.append(self.sampled(rank, owner, index, record.value))
        if data != b"".join(canonical(line).encode("utf-8") + b"\n" for line in lines):
            self.folder.fault("evidence/sample.jsonl", "is not what the seed draws and the log gives")
        for number, line in enumerate(data.splitlines(), 1):
            try:
                self.proved(parse(line))
            except (Wrong, KeyError, TypeError, ValueError) as wrong:
                self.folder.fault("evidence/sample.jsonl", f"line {number}: {wrong}")

    def sampled(self, rank, owner, index, record):
        tree = self.trees[owner]
        line = {name: record[name] for name in
                ("call", "decision", "effect", "on_behalf_of", "operation", "outcome", "phase", "principal", "target", "time")
                if name in record}
        approvers = []
        for approval in record.get("approvals", []):
            for approver in approval["approvers"]:
                one = {"approval": approval["approval"], "approver": approver}
                if (approval["approval"], approver) in tree["answers"]:
                    one["recorded_at"] = tree["answers"][approval["approval"], approver]
                approvers.append(one)
        if approvers:
            line["approvers"] = approvers
        proof = [digest_text(one) for one in tree["hashes"].path(index, 0, len(tree["hashes"]))]
        return {**line, "consequential": consequential(record), "index": index, "log": owner,
                "leaf_hash": digest_text(tree["hashes"].levels[0][index]), "proof": proof, "rank": digest_text(rank)}

    def proved(self, line):
        tree = self.trees.get(line["log"])
        if tree is None or not held(tree["population"], line["index"]):
            raise Wrong("is not of the population")
        proof = [digest_bytes(one) for one in line["proof"]]
        size, root = len(tree["hashes"]), tree["hashes"].root()
        if not included(digest_bytes(line["leaf_hash"]), line["index"], size, proof, root):
            raise Wrong("its proof does not lead to the root")


def held(population, index):
    place = bisect.bisect_left(population, index)
    return population[place:place + 1] == [index]


class Once:
    """A record in a list that is sorted by what stands before it."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return False


# ---------------------------------------------------------------- one tree

def folder_of(owner):
    return "provider" if owner == "provider" else f"tenants/{owner}"


class Tree:
    def __init__(self, folder, log, owner, trusted, expected, evidence):
        self.folder, self.owner, self.place = folder, owner, folder_of(owner)
        self.origin, self.trusted, self.expected, self.evidence = f"{log}/{self.place}", trusted, expected, evidence
        self.hashes, self.commitments, self.rotations = Merkle(), [], []
        self.here, self.erased = [], {}

    def run(self):
        """Whether it could be followed to its end."""
        name = f"{self.place}/checkpoint"
        data = self.folder.read(name)
        try:
            if data is None:
                raise Wrong("cannot be followed")
            note = Note(data)
            try:
                note.check(self.trusted)
            except Wrong as wrong:
                self.folder.fault(name, wrong)
            origin, size, root = checkpoint(note.text)
        except Wrong as wrong:
            self.folder.fault(name, wrong)
            self.folder.abandoned.append(f"{self.place}/")
            return False
        if origin != self.origin:
            self.folder.fault(name, f"is the checkpoint of `{origin}`")
        number = 0
        while len(self.hashes) < size:
            if not self.bundle(number, min(256, size - len(self.hashes))):
                self.folder.abandoned.append(f"{self.place}/")
                return False
            number += 1
        self.tiles()
        for call in self.here:
            if call in self.erased:
                self.folder.fault(self.place, f"the payload of {call} is here, and was erased")
        if self.hashes.root() != root:
            self.folder.fault(name, "the entries do not hash to its root")
        self.heads(name, size)
        return True

    def bundle(self, number, width):
        name = f"{self.place}/tile/entries/{number_path(number)}" + ("" if width == 256 else f".p/{width}")
        data = self.folder.read(name)
        if data is None:
            return False
        entries, rest = [], data
        while rest:
            length = int.from_bytes(rest[:2], "big")
            if len(rest) < 2 + length:
                self.folder.fault(name, "does not divide into entries")
                return False
            entries.append(rest[2:2 + length])
            rest = rest[2 + length:]
        if len(entries) != width:
            self.folder.fault(name, f"does not hold {width} entries")
            return False
        named, population = {}, []
        for entry in entries:
            index = len(self.hashes)
            record = self.entry(name, index, entry, named)
            found = leaf_hash(entry)
            self.hashes.append(found)
            if self.evidence:
                line = self.evidence.see(self.owner, found, record)
                population += [line] if line else []
        self.payloads(number, named)
        if self.evidence:
            self.population(number, population)
        return True

    def entry(self, name, index, entry, named):
        try:
            value = parse(entry)
            if not isinstance(value, dict):
                raise Wrong("is no entry")
            if "root" in value:
                good, owner = HEAD(value), "provider"
            elif "rotation" in value:
                good, owner = ROTATION(value), "provider"
            else:
                good, owner = RECORD(value), value.get("tenant", "provider")
            if not good:
                raise Wrong("is no entry of format 1")
            if owner != self.owner:
                raise Wrong(f"belongs to {owner}")
        except Wrong as wrong:
            self.folder.fault(name, f"entry {index}: {wrong}")
            return None
        if "root" in value:
            self.commitments.append((value["tenant"], value["size"], digest_bytes(value["root"]), index))
        elif "rotation" in value:
            self.rotations.append(value["rotation"])
        else:
            target, outcome = value.get("target"), value["outcome"]
            if value["operation"] == "audit.erase_payload" and value["phase"] == "call" and outcome["status"] == 200:
                if target and target["type"] == "AuditLog" and CALL(target["id"]) and "error" not in outcome:
                    self.erased[target["id"]] = index
            if "input_digest" in value:
                named[value["call"], value["input_digest"]] = True
        return value

    def payloads(self, number, named):
        name = f"{self.place}/payloads/{number_path(number)}.jsonl"
        if name not in self.folder.unread:
            return
        data = self.folder.read(name)
        if data is None:
            return
        if not data.endswith(b"\n"):
            self.folder.fault(name, "does not end in a newline")
        for line in (data[:-1] if data.endswith(b"\n") else data).split(b"\n"):
            try:
                value = parse(line)
                if not PAYLOAD(value):
                    raise Wrong("is no payload")
                salted = bytes.fromhex(value["salt"]) + canonical(value["input"]).encode("utf-8")
                if not named.pop((value["call"], digest_text(hashlib.sha256(salted).digest())), False):
                    raise Wrong("is of no record of this bundle")
                self.here.append(value["call"])
            except Wrong as wrong:
                self.folder.fault(name, wrong)

    def population(self, number, lines):
        name = f"{self.place}/population/{number_path(number)}.jsonl"
        if not lines and name not in self.folder.unread:
            return
        data = self.folder.read(name)
        if data is not None and data != b"".join(canonical(line).encode("utf-8") + b"\n" for line in lines):
            self.folder.fault(name, "is not what the filter takes")

    def tiles(self):
        level = 0
        while level * 8 < len(self.hashes.levels) and self.hashes.levels[level * 8]:
            hashes = self.hashes.levels[level * 8]
            for start in range(0, len(hashes), 256):
                tile = hashes[start:start + 256]
                name = f"{self.place}/tile/{level}/{number_path(start // 256)}"
                name += "" if len(tile) == 256 else f".p/{len(tile)}"
                data = self.folder.read(name)
                if data is not None and data != b"".join(tile):
                    self.folder.fault(name, "does not hold the hashes that the entries give")
            level += 1

    def heads(self, name, size):
        committed = 0
        for expected, root, index in self.expected:
            found = self.hashes.over(0, expected) if expected <= len(self.hashes) else None
            if index is None:
                if found != root:
                    self.folder.fault(name, f"does not extend the {expected} entries seen before")
            else:
                if expected < committed or found != root:
                    self.folder.fault(name, f"entry {index} of the provider's tree commits to other entries")
                committed = max(committed, expected)
        if self.folder.with_provider and self.owner != "provider" and committed != size:
            self.folder.fault(name, f"the provider's tree commits to {committed} entries, not {size}")


# ---------------------------------------------------------------- all of it

def verify(root, keys=(), since=(), anchors=()):
    """The faults of a folder under these keys (objects of Key), older checkpoints and checkpoints that anchors kept."""
    try:
        folder = Folder(root)
    except Wrong as wrong:
        return [f".: {wrong}"]
    try:
        check(folder, list(keys), since, anchors)
    except Wrong as wrong:
        folder.fault("manifest.json", wrong)
    return folder.faults


def check(folder, keys, since, anchors):
    data, note = folder.top("manifest.json"), folder.top("manifest.note")
    if data is None:
        return
    manifest = parse(data)
    if not MANIFEST(manifest):
        raise Wrong("is not a manifest of format 1")
    names = [file["path"] for file in manifest["files"]]
    for sorted_list in (names, manifest["tenants"]):
        encoded = [one.encode("utf-8") for one in sorted_list]
        if any(left >= right for left, right in zip(encoded, encoded[1:])):
            raise Wrong("is not sorted")
    log, key = manifest["log"], Key(manifest["key"])
    if not name_valid(log):
        raise Wrong("names no log")
    if key.name != log:
        folder.fault("manifest.json", "the key has another name than the log")
    rotations = manifest.get("rotations", [])
    try:
        of_log = chain(rotations, key, log)
    except Wrong as wrong:
        folder.fault("manifest.json", wrong)
        of_log = [key]
    followed = any(one in of_log for one in keys)
    if keys and not followed:
        folder.fault("--key", "the folder is signed by another key")
    if note is not None:
        try:
            opened = Note(note)
            opened.check([key])
            stated = f"{log}/export\n{digest_text(hashlib.sha256(data).digest())}\n"
            if opened.text != stated or len(opened.signatures) != 1:
                raise Wrong("does not sign this manifest, and nothing else")
        except Wrong as wrong:
            folder.fault("manifest.note", wrong)
    trusted = keys + of_log if followed or not keys else keys
    folder.with_provider = manifest["provider"]
    folder.stated = {file["path"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
    owners = (["provider"] if manifest["provider"] else []) + manifest["tenants"]
    evidence = None
    if "evidence/evidence.json" in folder.unread:
        try:
            evidence = Evidence(folder)
        except Wrong as wrong:
            folder.fault("evidence/evidence.json", wrong)
    expected = older(folder, log, owners, trusted, since, anchors)
    for owner in owners:
        tree = Tree(folder, log, owner, trusted, expected.pop(owner, []), evidence)
        if not tree.run():
            evidence = None
            continue
        if owner == "provider" and tree.rotations != rotations:
            folder.fault("provider", "its changes of key are not those of the manifest")
        for tenant, size, root, index in tree.commitments:
            expected.setdefault(tenant, []).append((size, root, index))
    if manifest["provider"]:
        for tenant in expected:
            folder.fault(tenant, "the provider's tree commits to a tree that is not here")
    if evidence:
        evidence.finish(owners)
    folder.finish()


def older(folder, log, owners, trusted, since, anchors):
    origins, expected = {f"{log}/{folder_of(owner)}": owner for owner in owners}, {}
    for flag, notes in (("--since", since), ("--anchor", anchors)):
        whole, held = flag == "--since" or folder.with_provider, 0
        for data in notes:
            try:
                note = Note(data)
                note.check(trusted)
                origin, size, root = checkpoint(note.text)
            except Wrong as wrong:
                folder.fault(flag, wrong)
                continue
            if origin in origins:
                held += 1
                expected.setdefault(origins[origin], []).append((size, root, None))
            elif whole:
                folder.fault(flag, f"the tree `{origin}` is not in this folder")
        if notes and not held and not whole:
            folder.fault(flag, "none of its checkpoints is of a tree in this folder")
    return expected


def brought(name):
    with open(name, encoding="utf-8", newline="") as file:
        return file.read()


def main(words):
    folders, keys, since, anchors = [], [], [], []
    words = iter(words)
    try:
        for word in words:
            if word == "--key":
                lines = [line.strip() for line in brought(next(words)).splitlines() if line.strip()]
                if not lines:
                    raise Wrong("a file of keys holds none")
                keys += [Key(line) for line in lines]
            elif word == "--since":
                since.append(brought(next(words)))
            elif word == "--anchor":
                before = len(anchors)
                for line in brought(next(words)).split("\n"):
                    value = parse(line.encode("utf-8")) if line else None
                    if value is not None and not ANCHOR(value):
                        raise Wrong("a line is not what an anchor keeps")
                    anchors += value["checkpoints"] if value else []
                if len(anchors) == before:
                    raise Wrong("an anchor holds no checkpoint")
            elif word.startswith("-"):
                raise StopIteration
            else:
                folders.append(word)
    except StopIteration:
        folders = []
    except (OSError, UnicodeDecodeError, Wrong) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    if len(folders) != 1:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    faults = verify(folders[0], keys, since, anchors)
    for fault in faults:
        print(f"fault: {fault}")
    if faults:
        return 1
    print("valid: all holds under the key" if keys else "consistent, NOT authenticated: give the public key with --key")
    return 0 if keys else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
