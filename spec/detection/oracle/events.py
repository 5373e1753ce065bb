"""Read recordings and find fields in their events. Independent of crate `event` on purpose."""

import gzip
import io
import json

HEADER = ("EventID", "Channel", "Computer", "Level", "Task", "Opcode", "Keywords", "Version", "EventRecordID")


def read_bytes(path):
    data = open(path, "rb").read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data


def read_events(path):
    """Yield (index, event or None) in file order; None for a record that cannot be read."""
    data = read_bytes(path)
    if data.startswith(b"ElfFile"):
        from evtx import PyEvtxParser

        records = iter(PyEvtxParser(io.BytesIO(data)).records_json())
        index = 0
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except RuntimeError:
                yield index, None
            else:
                yield index, json.loads(record["data"])
            index += 1
    elif data[:2] == b"PK":
        import zipfile

        archive = zipfile.ZipFile(io.BytesIO(data))
        names = [name for name in archive.namelist() if name.endswith(".json") and not name.startswith("__MACOSX")]
        yield from enumerate(event for name in names for event in json_values(archive.read(name)))
    else:
        yield from enumerate(json_values(data))


def json_values(data):
    data = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not data:
        return
    lines = [line for line in data.split(b"\n") if line.strip()]
    if data[:1] == b"[" or not complete(lines[0]) or len(lines) == 1:
        document = json.loads(data.decode("utf-8"))
        if isinstance(document, dict):
            document = document["Records"] if isinstance(document.get("Records"), list) else [document]
        yield from document
        return
    for line in lines:
        try:
            yield json.loads(line.decode("utf-8"))
        except ValueError:
            yield None


def complete(line):
    try:
        json.loads(line.decode("utf-8"))
    except ValueError:
        return False
    return True


def detect_format(event):
    inner = event.get("Event")
    if isinstance(inner, dict) and "System" in inner:
        return "windows-evtx"
    winlog = event.get("winlog")
    if isinstance(winlog, dict) and ("event_id" in winlog or "channel" in winlog):
        return "winlogbeat"
    if "EventID" in event and ("Channel" in event or "SourceName" in event or "Provider_Name" in event):
        return "windows-flat"
    if "eventSource" in event and "eventName" in event:
        return "cloudtrail"
    return "plain"


def walk(value, path):
    """Every value at a dotted path: flat keys, nested objects, mixed; arrays stand for each element."""
    if isinstance(value, list):
        for item in value:
            yield from walk(item, path)
    elif isinstance(value, dict):
        for key, below in value.items():
            if key == path:
                yield below
            elif path.startswith(key + "."):
                yield from walk(below, path[len(key) + 1 :])


def without_blanks(data, name):
    """Defender writes `Threat Name`, rules say `ThreatName`: keys match with blanks removed, where not exactly."""
    if not isinstance(data, dict) or name in data:
        return data
    return {key.replace(" ", ""): value for key, value in data.items()}


def scalars(value):
    if isinstance(value, list):
        for item in value:
            yield from scalars(item)
    elif isinstance(value, dict):
        if "#text" in value:
            yield from scalars(value["#text"])
    else:
        yield value


def leaves(value):
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


class Event:
    """One event with the fields of its format."""

    def __init__(self, raw, form):
        self.raw = raw
        self.form = form
        self.cache = {}
        self._leaves = None

    def field(self, name):
        """(present, scalars) of a field of the rule language."""
        found = self.cache.get(name)
        if found is None:
            values = list(self.locate(name))
            found = (bool(values), [scalar for value in values for scalar in scalars(value)])
            self.cache[name] = found
        return found

    def locate(self, name):
        raw = self.raw
        if self.form == "windows-evtx":
            inner = raw.get("Event") or {}
            yield from walk(without_blanks(inner.get("EventData"), name), name)
            data = inner.get("UserData")
            if isinstance(data, dict):
                for part in data.values():
                    yield from walk(part, name)
            system = inner.get("System") or {}
            if name in HEADER and name in system:
                yield system[name]
            attributes = (system.get("Provider") or {}).get("#attributes") or {}
            if name == "Provider_Name" and "Name" in attributes:
                yield attributes["Name"]
            if name == "ProviderGuid" and "Guid" in attributes:
                yield attributes["Guid"]
        elif self.form == "winlogbeat":
            winlog = raw.get("winlog") or {}
            yield from walk(winlog.get("event_data"), name)
            data = winlog.get("user_data")
            yield from walk(data, name)
            names = {
                "EventID": "event_id",
                "Channel": "channel",
                "Computer": "computer_name",
                "Provider_Name": "provider_name",
                "ProviderGuid": "provider_guid",
                "EventRecordID": "record_id",
                "Task": "task",
                "Opcode": "opcode",
                "Keywords": "keywords",
                "Version": "version",
            }
            if name in names:
                yield from walk(winlog, names[name])
        else:
            yield from walk(raw, name)

    def leaves(self):
        if self._leaves is None:
            self._leaves = [leaf for leaf in leaves(self.raw) if leaf is not None]
        return self._leaves

    def routing(self, name):
        """A field of the header by which rules are chosen: never one of the same name in the event's own data."""
        if self.form == "windows-evtx":
            values = list(scalars(((self.raw.get("Event") or {}).get("System") or {}).get(name)))
        else:
            values = self.field(name)[1]
        return values[0] if values else None
