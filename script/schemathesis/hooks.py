"""What schemathesis cannot know of a live system: which objects exist, and which values are never guessable.

Loaded through SCHEMATHESIS_HOOKS by script/schemathesis/run. Every operation gets one example on objects made for it,
so that each can succeed once; generated cases keep their own values, except where a comment here says why not.
"""

import itertools
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
import uuid

import schemathesis
from schemathesis import GenerationMode

URL = os.environ["POSSE_URL"]
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
    """A program that may do everything that people confirm."""
    made = service_key()
    assignment(service_key_id(made), "provider_admin")
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


def login():
    email, password = f"{name('user')}@example.com", "correct horse battery staple"
    call("POST", "/v1/users", {"email": email, "display_name": "A test", "password": password})
    return {"body": {"email": email, "password": password}}


def approver():
    """A second person, for what one may not do alone."""
    made = login()["body"]
    person = call("GET", "/v1/users?limit=1000")["items"]
    person = next(one["id"] for one in person if one.get("email") == made["email"])
    assignment(person, "provider_admin")
    return secret(call("POST", "/v1/me/login", made))


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


# One example for each operation that needs objects: its path and, where the declared example names objects that do
# not exist, what stands in their place.
EXAMPLES = {
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
    "audit_get": lambda: {"path": {"call": audited_call()}},
    "audit_prove": lambda: {"path": {"call": audited_call()}},
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
    "user_revoke_token": lambda: {"path": {"user": ME, "token": revocable()}},
    "user_set_roles": lambda: {"path": {"user": user()}, "body": {"roles": ["analyst"], "tenant": TENANT}},
    "user_update": lambda: {"path": {"user": user()}},
}
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
    body = made.get("body", declared.get("example"))
    case = {"path_parameters": made.get("path", {}), "query": made.get("query", first_query(operation))}
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
        if case.query:
            case.query.pop("cursor", None)
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
