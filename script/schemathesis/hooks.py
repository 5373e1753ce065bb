"""What schemathesis cannot know of a live system: which objects exist, and which values are never guessable.

Loaded through SCHEMATHESIS_HOOKS by script/schemathesis/run. Every operation gets one example on objects made for it,
so that each can succeed once; generated cases keep their own values, except where a comment here says why not.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import re
import threading
import time
import urllib.error
import urllib.request
import uuid

import schemathesis
from schemathesis import GenerationMode

URL = os.environ["POSSE_URL"]
EXTERNAL = pathlib.Path(os.environ["POSSE_EXTERNAL"])
ADMIN = os.environ["POSSE_TOKEN"]
SEEN = {}
COUNTER = itertools.count()
LOCK = threading.Lock()


def call(method, path, body=None, token=ADMIN, wait=True):
    """One call of the API; its answer, or a loud end: without seeded data nothing here means anything."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Idempotency-Key", uuid.uuid4().hex)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            answer = json.loads(answer.read())
            return granted(answer) if wait and token == ADMIN else answer
    except urllib.error.HTTPError as error:
        raise SystemExit(f"seeding: {method} {path}: {error.code} {error.read()[:500]!r}") from error


def granted(answer):
    """The answer itself, or that of the call which a second person lets through."""
    if answer.get("status") != "pending_approval":
        return answer
    path = f"/v1/approvals/{answer['approval']}"
    call("POST", f"{path}/approve", token=APPROVER)
    for _ in range(200):
        seen = call("GET", path)
        if seen["state"] == "executed":
            return seen["result"]
        time.sleep(0.05)
    raise SystemExit(f"seeding: {path} did not run: {seen}")


def name(kind):
    return f"{kind}-{next(COUNTER)}-{uuid.uuid4().hex[:6]}"


ME = call("GET", "/v1/me")["principal"]


def tenant():
    return call("POST", "/v1/tenants", {"name": name("tenant"), "tags": ["env=test"]})["id"]


def suspended_tenant():
    made = tenant()
    call("POST", f"/v1/tenants/{made}/suspend", {"reason": "a test"})
    return made


def user():
    made = call("POST", "/v1/users", {"email": f"{name('user')}@example.com", "display_name": "A test"})
    return made.get("id") or made["user"]["id"]


def token_of(owner):
    made = call("POST", f"/v1/users/{owner}/tokens", {"name": name("token"), "ttl_secs": 3600})
    return made


def agent(active):
    made = call("POST", "/v1/agents", {"name": name("agent"), "purpose": "a test", "owner": ME})["id"]
    if active:
        call("POST", f"/v1/agents/{made}/activate")
    return made


def role():
    return call("POST", "/v1/roles", {"name": name("role"), "operations": ["tenant.get"]})["role"]


def secret(made):
    """The one secret that an answer shows."""
    return re.search(r'"secret": ?"([^"]+)"', json.dumps(made)).group(1)


def service_key():
    return call("POST", "/v1/service-keys", {"name": name("key")})


def service_key_id(made=None):
    made = made or service_key()
    found = re.search(r'"id": ?"(service_[^"]+)"', json.dumps(made))
    return found.group(1)


def policy(active=False):
    text = f'@id("{name("rule")}")\npermit(principal, action == Posse::Action::"tenant.get", resource);'
    made = call("POST", "/v1/policies", {"name": name("policy"), "text": text})["id"]
    if active:
        call("POST", f"/v1/policies/{made}/activate")
    return made


def assignment(principal=None, what="viewer"):
    return call("POST", "/v1/assignments", {"principal": principal or user(), "role": what})["id"]


def proposer():
    """A program that may do everything that people confirm. Another person made it, so that the run's own may judge."""
    made = call("POST", "/v1/service-keys", {"name": name("key")}, token=APPROVER)
    body = {"principal": service_key_id(made), "role": "provider_admin"}
    call("POST", "/v1/assignments", body, token=APPROVER)
    return secret(made)


def approval():
    return call("POST", f"/v1/policies/{policy()}/activate", token=PROPOSER)["approval"]


def own_approval():
    """One that the run's own user asked for: only they may withdraw it."""
    made = call("POST", "/v1/tenants", {"name": name("tenant"), "tags": ["four=eyes"]})["id"]
    return call("POST", f"/v1/tenants/{made}/suspend", {"reason": "a test"}, wait=False)["approval"]


def narrowing():
    made = approval()
    return {"path": {"approval": made}, "body": {"input": call("GET", f"/v1/approvals/{made}")["input"]}}


def job():
    """The job that carries out an approved call."""
    call("POST", f"/v1/approvals/{approval()}/approve")
    return call("GET", "/v1/jobs?limit=1")["items"][0]["id"]


def kill_switch():
    body = {"reason": "a test", "target": {"stop": "agent", "agent": agent(False)}}
    return call("POST", "/v1/kill-switches", body)["id"]


PASSWORD = "correct horse battery staple"


def login():
    email, password = f"{name('user')}@example.com", PASSWORD
    call("POST", "/v1/users", {"email": email, "display_name": "A test", "password": password})
    return {"body": {"email": email, "password": password}}


def approver():
    """A second person, for what one may not do alone."""
    made = login()["body"]
    person = call("GET", "/v1/users?limit=1000")["items"]
    person = next(one["id"] for one in person if one.get("email") == made["email"])
    assignment(person, "provider_admin")
    return secret(call("POST", "/v1/me/login", made))


RULE_TEXT = """title: Whoami
id: 7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11
logsource:
  product: windows
  category: process_creation
detection:
  selection:
    Image|endswith: '\\\\whoami.exe'
  condition: selection
level: low
tags: [attack.t1033]
"""
EXCEPTION_TEXT = """title: Build hosts
id: 5f0c7a4e-0a25-4ef2-8f50-cc2be7fd0e19
logsource:
  product: windows
  category: process_creation
filter:
  rules: [7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11]
  selection:
    Computer|startswith: build-
  condition: not selection
"""
APPROVER = approver()
FOUR_EYES = """@id("four-eyes-test")
@summary("tenants with this tag are suspended by two people")
forbid(principal, action == Posse::Action::"tenant.suspend", resource)
when { context.tenant_tags.contains("four=eyes") }
unless { context.approvals.people >= 1 };"""
call("POST", f"/v1/policies/{call('POST', '/v1/policies', {'name': name('four-eyes'), 'text': FOUR_EYES})['id']}/activate")
PROPOSER = proposer()
TENANT = tenant()


def audited_call():
    # Records of this caller appear within a second; the setup's own are there by now.
    return call("GET", "/v1/audit?limit=1")["items"][0]["call"]


def with_input():
    """A call whose input is on the record, and may be erased from it."""
    call("POST", "/v1/cases", {"tenant": TENANT, "title": "a number that does not belong here", "severity": "low"})
    return call("GET", "/v1/audit?limit=1&operation=case.open&tenant=" + TENANT)["items"][0]["call"]


def source(of=None):
    made = {"name": name("source"), "mapping": "sensor"}
    return call("POST", f"/v1/tenants/{of or TENANT}/sources", made)["name"]


def ingest_key(of):
    made = call("POST", f"/v1/tenants/{TENANT}/sources/{of}/keys", {"name": name("key")})
    return made


def ingest_key_id(of):
    return re.search(r'"id": ?"([^"]+)"', json.dumps(ingest_key(of))).group(1)


def event():
    """A stored event's id: what `event.get` and evidence can be asked for."""
    of = call("POST", f"/v1/tenants/{TENANT}/sources", {"name": name("source"), "mapping": "windows-flat"})["name"]
    key = secret(ingest_key(of))
    told = {
        "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Computer": "ws01",
        "UtcTime": time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime()), "ProcessId": 4242,
        "ProcessGuid": "{0d1f8f4e-0000-0000-0000-000000004242}", "Image": "C:\\Windows\\System32\\whoami.exe",
        "CommandLine": "whoami /all", "User": "WS01\\alice",
    }
    request = urllib.request.Request(URL + f"/v1/ingest/{of}", data=json.dumps(told).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/x-ndjson")
    urllib.request.urlopen(request).close()
    asked = {"tenant": TENANT, "query": "process_name:whoami.exe", "limit": 1}
    for _ in range(100):
        rows = call("POST", "/v1/events/search", asked)["items"]
        if rows:
            return rows[0]["id"]
        time.sleep(0.1)
    raise SystemExit("seeding: the event never became searchable")


def rule_and_text():
    text = RULE_TEXT.replace("7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11", str(uuid.uuid4()))
    return call("POST", "/v1/rules", {"tenant": TENANT, "text": text})["id"], text


def rule():
    return rule_and_text()[0]


def changed_rule():
    made, text = rule_and_text()
    return {"path": {"rule": made}, "body": {"comment": "a test", "text": text.replace("level: low", "level: medium")}}


def defined_agent():
    """An agent with a charter: that of a shipped definition, which goes by its name."""
    made = call("POST", "/v1/agents", {"tenant": tenant(), "name": "triage", "purpose": "a test", "owner": ME})["id"]
    call("PUT", f"/v1/agents/{made}/charter", {})
    return made


def pack():
    return call("POST", "/v1/packs", {"name": name("pack"), "description": "a test"})["id"]


def assigned_pack():
    made = pack()
    call("PUT", f"/v1/tenants/{TENANT}/packs/{made}", {})
    return made


def case():
    return call("POST", "/v1/cases", {"tenant": TENANT, "title": name("case"), "severity": "low"})["id"]


def task():
    of = case()
    return {"case": of, "task": call("POST", f"/v1/cases/{of}/tasks", {"title": "a test"})["id"]}


def evidence():
    of = case()
    body = {"note": "a test", "sql": "SELECT count(*) AS n FROM process_activity"}
    return {"case": of, "evidence": call("POST", f"/v1/cases/{of}/evidence", body)["items"][0]["id"]}


def exception():
    body = {"owner": ME, "reason": "a test", "ttl_secs": 3600, "text": EXCEPTION_TEXT.replace("5f0c7a4e", uuid.uuid4().hex[:8])}
    return call("POST", f"/v1/tenants/{TENANT}/rule-exceptions", body)["id"]


def sensor():
    made = call("POST", f"/v1/tenants/{TENANT}/sensors", {"name": name("sensor")})
    return re.search(r'"(sensor_[^"]+)"', json.dumps(made)).group(1)


def skill():
    front = "---\nname: look\ndescription: Looks into a case.\n---\nLook at the process tree first.\n"
    body = {"files": [{"path": "SKILL.md", "text": front + name("skill")}]}
    return re.search(r'"digest": ?"([^"]+)"', json.dumps(call("POST", "/v1/skills", body))).group(1)


MARCH = {"since": "2026-03-01T00:00:00Z", "until": "2026-04-01T00:00:00Z"}


def hold():
    made = name("hold")
    call("POST", f"/v1/tenants/{TENANT}/lake/holds", {"name": made, "reason": "a test", **MARCH})
    return made


def run():
    """A run that a person started: the shipped triage playbook on a case."""
    agents = call("GET", "/v1/agents?limit=1000")["items"]
    made = next((one["id"] for one in agents if one["name"] == "triage"), None)
    if made is None:
        return "run_01jd3k5v9qf8m2x7r4t6w8y0zc"
    return call("POST", "/v1/runs", {"agent": made, "tenant": TENANT, "case": case()})["id"]


def connector():
    """One that posts to a chat, with its secret."""
    made = name("chat")
    call("POST", "/v1/connectors", {"name": made, "shipped": "slack-message", "tenant": TENANT})
    body = {"name": "bot_token", "tenant": TENANT, "value": "xoxb-0-1"}
    call("POST", f"/v1/connectors/{made}/secrets", body)
    return made


def connector_at(**more):
    return {"path": {"connector": connector()}, **more}


def broken_glass(token=ADMIN, closed=False):
    """A role that was taken in an emergency, in a tenant of its own."""
    body = {"reason": "a test", "role": "responder"}
    made = call("POST", f"/v1/tenants/{tenant()}/break-glass", body, token=token)["id"]
    if closed:
        call("POST", f"/v1/break-glass/{made}/close", token=token)
    return made


def lockdown():
    return call("POST", f"/v1/tenants/{tenant()}/lockdowns", {"effects": ["respond"], "reason": "a test"})["id"]


def lent():
    return call("POST", "/v1/grants", {"client": "claude-code", "profile": "read", "tenant": TENANT})


def one_time(key, at):
    """The code of an authenticator (RFC 6238): SHA-1, 30 seconds, six digits."""
    digest = hmac.new(base64.b32decode(key + "=" * (-len(key) % 8)), int(at // 30).to_bytes(8, "big"), hashlib.sha1).digest()
    from_byte = digest[-1] & 15
    return f"{(int.from_bytes(digest[from_byte:from_byte + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def signed_in():
    """Somebody who signed in: their id and token."""
    token = secret(call("POST", "/v1/me/login", login()["body"]))
    return call("GET", "/v1/me", token=token)["principal"], token


def second_factor(path):
    """Somebody who set up an authenticator; the path is theirs, and so must the token be: see before_call."""
    person, token = signed_in()
    if path == "enrol":
        OWN_TOKENS[person] = token
        return {"path": {"user": person}, "body": {"password": PASSWORD}}
    made = call("POST", f"/v1/users/{person}/totp", {"password": PASSWORD}, token=token)
    code = {"code": one_time(secret(made), time.time())}
    OWN_TOKENS[person] = token
    if path == "remove":
        call("POST", f"/v1/users/{person}/totp/confirm", code, token=token)
        return {"path": {"user": person}, "body": {"code": one_time(secret(made), time.time() + 30)}}
    return {"path": {"user": person}, "body": code}


def external_table(create=True):
    """A folder of Parquet, written by an export of our own, and where asked for its table."""
    made, folder = name("table").replace("-", "_"), EXTERNAL / TENANT / name("folder")
    folder.mkdir(parents=True)
    asked = {"tenant": TENANT, "sql": "SELECT time, process_name FROM process_activity", "format": "parquet"}
    part = call("POST", "/v1/events/export", asked)["items"][0]
    (folder / "part-0.parquet").write_bytes(base64.b64decode(part["content"]))
    body = {"name": made, "folder": str(folder), "columns": [{"from": "process_name", "name": "program"}]}
    if create:
        call("POST", f"/v1/tenants/{TENANT}/external-tables", body)
        return made
    return {"path": {"tenant": TENANT}, "body": body}


COUNTING = "SELECT count(*) AS n FROM process_activity"


def saved_query():
    return call("POST", f"/v1/tenants/{TENANT}/saved-queries", {"name": name("query"), "sql": COUNTING})["name"]


def query_result():
    of = saved_query()
    return {"tenant": TENANT, "query": of, "result": call("POST", f"/v1/tenants/{TENANT}/saved-queries/{of}/run")["id"]}


# A name that no resolver knows: what is told and read here goes nowhere.
BUCKET = {"bucket": "acme-trail", "endpoint": "https://store.invalid", "every_secs": 86400}
HOOK = {"kinds": ["approval_waiting"], "name": "on call", "url": "https://hooks.invalid/posse"}


def bucket():
    of = source()
    call("PUT", f"/v1/tenants/{TENANT}/sources/{of}/bucket", BUCKET)
    return {"path": {"tenant": TENANT, "source": of}}


def webhook():
    return call("POST", "/v1/webhooks", HOOK | {"tenant": TENANT})["webhook"]["id"]


def gone_tenant():
    """A tenant that left: a second person agreed, and its certificate is there."""
    made = suspended_tenant()
    call("POST", f"/v1/tenants/{made}/offboard", {"reason": "a test"})
    # Its log is kept and its records are erased by a job, behind what other tests made work for.
    for _ in range(600):
        try:
            with urllib.request.urlopen(
                urllib.request.Request(
                    f"{URL}/v1/tenants/{made}/certificate", headers={"Authorization": f"Bearer {ADMIN}"}
                )
            ):
                return made
        except urllib.error.HTTPError as error:
            # 409: it is leaving still.
            if error.code not in (404, 409):
                raise
            said = error.read()[:300]
            time.sleep(0.1)
    raise SystemExit(f"seeding: a tenant that left has no certificate: {said!r}")


def in_a_day():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))


# What stands in a path whose operation says nothing of its own below. Those of one line belong together.
PATHS = {
    "agent": lambda: {"agent": agent(True)},
    "break_glass": lambda: {"break_glass": broken_glass()},
    "connector": lambda: {"tenant": TENANT, "connector": connector()},
    "grant": lambda: {"grant": lent()["grant"]["id"]},
    "lockdown": lambda: {"lockdown": lockdown()},
    "case": lambda: {"case": case()},
    "event": lambda: {"event": EVENT},
    "evidence": evidence,
    "exception": lambda: {"tenant": TENANT, "exception": exception()},
    "job": lambda: {"job": job()},
    "key": lambda: (lambda of: {"tenant": TENANT, "source": of, "key": ingest_key_id(of)})(source()),
    "name": lambda: {"tenant": TENANT, "name": hold()},
    "pack": lambda: {"pack": assigned_pack()},
    "policy": lambda: {"policy": policy()},
    # Another person made it: who makes a key does not say alone that it is still needed.
    "principal": lambda: {"principal": service_key_id(call("POST", "/v1/service-keys", {"name": name("key")}, token=APPROVER))},
    "rule": lambda: {"rule": rule()},
    "run": lambda: {"run": run()},
    "sensor": lambda: {"sensor": sensor()},
    "digest": lambda: {"digest": skill()},
    "source": lambda: {"source": source()},
    "query": lambda: {"tenant": TENANT, "query": saved_query()},
    "result": query_result,
    "table": lambda: {"tenant": TENANT, "table": external_table()},
    "webhook": lambda: {"webhook": webhook()},
    "task": task,
    "tenant": lambda: {"tenant": TENANT},
}
# What the platform makes only by itself: a detection, an action, a task of a sensor. Their operations answer 404 here;
# the tests of the pipeline and of the sensor call them on real ones.
ABSENT = {
    "action": "action_01jd3k5v9qf8m2x7r4t6w8y0zc",
    "detection": "detection_01jd3k5v9qf8m2x7r4t6w8y0zc",
    "index": 0,
    "task": "task_01jd3k5v9qf8m2x7r4t6w8y0zc",
}
# Whose calls go under their own token: nobody else sets up another's second factor.
OWN_TOKENS = {}


def path_of(operation):
    """An object for every parameter of the path: the most particular one brings those that it lies in."""
    named = re.findall(r"{(\w+)}", operation.path)
    found = {}
    for one in reversed(named):
        if one in found:
            continue
        lies_in_case = one != "task" or "case" in named
        made = PATHS[one]() if one in PATHS and lies_in_case else {one: ABSENT[one]}
        found |= {key: value for key, value in made.items() if key in named and key not in found}
    return found


def existing(value):
    """The declared example with objects that are there in place of those that it names."""
    if isinstance(value, dict):
        return {key: existing(one) for key, one in value.items()}
    if isinstance(value, list):
        return [existing(one) for one in value]
    if value == "tenant_01jd3k5v9qf8m2x7r4t6w8y0zc":
        return TENANT
    if isinstance(value, str) and re.fullmatch(r"case_01jd3k5v9qf8m2x7r4t6w8y0z[a-z]", value):
        return case()
    if isinstance(value, str) and value.startswith("event_") and len(value) < 30:
        return EVENT
    return value


# One example for each operation that needs objects: its path and, where the declared example names objects that do
# not exist, what stands in their place.
EXAMPLES = {
    "approval_delegate": lambda: {"body": {"reason": "on leave", "to": user(), "until": in_a_day()}},
    "break_glass_open": lambda: {"path": {"tenant": tenant()}},
    "break_glass_review": lambda: {"path": {"break_glass": broken_glass(APPROVER, closed=True)}},
    "connector_create": lambda: {"body": {"name": name("chat"), "shipped": "slack-message", "tenant": TENANT}},
    "connector_delete": lambda: connector_at(query={"tenant": TENANT}),
    "connector_get": lambda: connector_at(query={"tenant": TENANT}),
    # The credential of this call is the refresh token itself: see before_call.
    "grant_redeem": lambda: {"body": {"client": "claude-code"}},
    "lockdown_engage": lambda: {"path": {"tenant": tenant()}},
    "agent_charter": lambda: {"path": {"agent": defined_agent()}},
    "agent_activate": lambda: {"path": {"agent": agent(False)}},
    "agent_get": lambda: {"path": {"agent": agent(False)}},
    "agent_issue_run_credential": lambda: run_credential(),
    "agent_register": lambda: {"body": {"name": name("agent"), "purpose": "a test", "owner": ME}},
    "agent_retire": lambda: {"path": {"agent": agent(True)}},
    "agent_revoke_credentials": lambda: {"path": {"agent": agent(True)}},
    "agent_suspend": lambda: {"path": {"agent": agent(True)}},
    "agent_update": lambda: {"path": {"agent": agent(False)}},
    "approval_approve": lambda: {"path": {"approval": approval()}},
    "approval_cancel": lambda: {"path": {"approval": own_approval()}},
    "approval_deny": lambda: {"path": {"approval": approval()}},
    "approval_get": lambda: {"path": {"approval": approval()}},
    "approval_narrow": lambda: narrowing(),
    "audit_consistency": lambda: {"query": {"from_size": 1}},
    "audit_erase_payload": lambda: {"path": {"call": with_input()}},
    "audit_get": lambda: {"path": {"call": audited_call()}},
    "audit_prove": lambda: {"path": {"call": audited_call()}},
    "external_table_create": lambda: external_table(create=False),
    "saved_query_create": lambda: {"body": {"name": name("query"), "sql": COUNTING, "schedule": {"every_minutes": 1440}}},
    "source_bucket": bucket,
    "source_list_objects": bucket,
    "source_remove_bucket": bucket,
    "source_set_bucket": lambda: {"body": BUCKET},
    "tenant_certificate": lambda: {"path": {"tenant": gone_tenant()}},
    "tenant_offboard": lambda: {"path": {"tenant": suspended_tenant()}},
    "user_confirm_totp": lambda: second_factor("confirm"),
    "user_enrol_totp": lambda: second_factor("enrol"),
    "user_remove_totp": lambda: second_factor("remove"),
    "webhook_create": lambda: {"body": HOOK | {"tenant": TENANT}},
    "job_cancel": lambda: {"path": {"job": job()}},
    "job_get": lambda: {"path": {"job": job()}},
    "kill_switch_engage": lambda: {
        "body": {"reason": "a test", "target": {"stop": "agent", "agent": agent(False)}}
    },
    "kill_switch_release": lambda: {"path": {"kill_switch": kill_switch()}},
    "me_login": lambda: login(),
    "me_permissions": lambda: {"query": {}},
    "operation_describe": lambda: {"path": {"operation": "tenant.get"}},
    "operation_call": lambda: {"body": {"operation": "me.get"}},
    "policy_activate": lambda: {"path": {"policy": policy()}},
    "policy_can_i": lambda: {"query": {"operation": "tenant.get"}},
    "policy_create": lambda: {"body": {"name": name("policy"), "text": POLICY_TEXT}},
    "policy_diff": lambda: {"path": {"policy": policy()}},
    "policy_explain": lambda: {"body": {"operation": "user.deactivate", "input": {"user": user(), "reason": "a test"}}},
    "policy_get": lambda: {"path": {"policy": policy()}},
    "policy_matrix": lambda: {"query": {"principal": ME}},
    "policy_retire": lambda: {"path": {"policy": policy(active=True)}},
    "policy_test": lambda: {"path": {"policy": policy()}},
    "policy_update": lambda: {"path": {"policy": policy()}, "body": {"comment": "a test", "text": POLICY_TEXT}},
    "policy_versions": lambda: {"path": {"policy": policy()}},
    "role_assign": lambda: {"body": {"principal": user(), "role": "viewer", "tenant": TENANT}},
    "role_create": lambda: {"body": {"name": name("role"), "operations": ["tenant.get"]}},
    "role_delete": lambda: {"path": {"role": role()}},
    "role_get": lambda: {"path": {"role": role()}},
    "role_unassign": lambda: {"path": {"assignment": assignment()}},
    "role_update": lambda: {"path": {"role": role()}},
    "rule_update": lambda: changed_rule(),
    "service_key_create": lambda: {"body": {"name": name("key"), "tenant": TENANT, "ttl_secs": 3600}},
    "service_key_revoke": lambda: {"path": {"service_key": service_key_id()}},
    "service_key_rotate": lambda: {"path": {"service_key": service_key_id()}},
    "tenant_create": lambda: {"body": {"name": name("tenant"), "tags": ["env=test"]}},
    "tenant_delete": lambda: {"path": {"tenant": suspended_tenant()}},
    "tenant_get": lambda: {"path": {"tenant": tenant()}},
    "tenant_resume": lambda: {"path": {"tenant": suspended_tenant()}},
    "tenant_suspend": lambda: {"path": {"tenant": tenant()}},
    "tenant_update": lambda: {"path": {"tenant": tenant()}},
    "user_create": lambda: {"body": {"email": f"{name('user')}@example.com", "display_name": "A test"}},
    "user_create_token": lambda: {"path": {"user": ME}},
    "user_deactivate": lambda: {"path": {"user": user()}},
    "user_get": lambda: {"path": {"user": user()}},
    "user_list_tokens": lambda: {"path": {"user": ME}},
    "user_reset_password": lambda: {"path": {"user": user()}},
    "user_revoke_token": lambda: {"path": {"user": ME, "credential": revocable()}},
    "user_set_roles": lambda: {"path": {"user": user()}, "body": {"roles": ["analyst"], "tenant": TENANT}},
    "user_update": lambda: {"path": {"user": user()}},
}
EVENT = event()
POLICY_TEXT = '@id("a-test")\npermit(principal, action == Posse::Action::"tenant.get", resource);'


def run_credential():
    made = agent(True)
    assignment(made, "viewer")
    return {"path": {"agent": made}, "body": {"tenant": TENANT, "ttl_secs": 900}}


def revocable():
    found = re.search(r'"id": ?"(credential_[^"]+|cred_[^"]+|token_[^"]+)"', json.dumps(token_of(ME)))
    return found.group(1)


def label(operation):
    return operation.definition.raw.get("operationId")


@schemathesis.hook
def before_add_examples(context, examples):
    """Replace the declared examples, whose objects do not exist here, by one that can succeed."""
    operation = context.operation
    made = EXAMPLES.get(label(operation), lambda: {})()
    declared = operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = made.get("body", existing(declared.get("example")))
    path = made["path"] if "path" in made else path_of(operation)
    case = {"path_parameters": path, "query": made.get("query", first_query(operation))}
    if body is not None:
        case |= {"body": body, "media_type": "application/json"}
    examples[:] = [operation.Case(**case)]


def first_query(operation):
    """The declared examples of required query parameters."""
    parameters = [one for one in operation.definition.raw["parameters"] if one.get("in") == "query"]
    return {one["name"]: one["example"] for one in parameters if one.get("required") and "example" in one}


def positive(case):
    return case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = label(case.operation)
    headers = case.headers
    if operation == "grant_redeem" and case.body == {"client": "claude-code"} and headers is not None:
        refresh = secret({"tokens": {"secret": lent()["tokens"]["refresh"]}})
        headers["Authorization"] = f"Bearer {refresh}"
    own = OWN_TOKENS.get((case.path_parameters or {}).get("user"))
    if own and "/totp" in case.path and headers is not None and "Authorization" in headers:
        headers["Authorization"] = f"Bearer {own}"
    # Generated cases reuse ids that answers held: the run's own user must outlive it.
    path = case.path_parameters or {}
    if path.get("user") == ME and case.method in ("POST", "PUT", "PATCH", "DELETE") and "tokens" not in case.path:
        path["user"] = user()
    if headers is not None:
        # A key is for one call; generated ones are short and collide across operations, which is rightly refused.
        key = headers.get("Idempotency-Key")
        if key is not None and re.fullmatch(r"[!-~]{1,255}", str(key)):
            headers["Idempotency-Key"] = f"{uuid.uuid4().hex}{key}"[:255]
        # The tool takes header values outside the declared pattern for valid ones.
        if positive(case):
            headers.pop("If-Match", None)
    if positive(case):
        # A cursor is authenticated: only one that an answer held is any good.
        for place in (case.query, case.body):
            if isinstance(place, dict):
                place.pop("cursor", None)
        if isinstance(case.body, dict) and operation in ("agent_register", "agent_update") and "owner" in case.body:
            case.body["owner"] = ME


@schemathesis.hook
def after_call(context, case, response):
    operation = label(case.operation)
    with LOCK:
        SEEN.setdefault(operation, set()).add(response.status_code)
    # A switch that stays engaged would refuse most of what follows.
    if operation == "kill_switch_engage" and response.status_code == 200:
        engaged = json.loads(response.content)["id"]
        call("POST", f"/v1/kill-switches/{engaged}/release", {"reason": "the test goes on"})


def report():
    path = os.environ.get("POSSE_STATUSES")
    if path:
        with open(path, "w", encoding="utf-8") as out:
            json.dump({operation: sorted(statuses) for operation, statuses in sorted(SEEN.items())}, out, indent=1)


import atexit  # noqa: E402

atexit.register(report)
