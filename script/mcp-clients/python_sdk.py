"""The official Python SDK as a client: lists the tools, looks, writes, and is refused, on a running server."""

import asyncio
import json
import os
import uuid

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main():
    headers = {"Authorization": f"Bearer {os.environ['POSSE_TOKEN']}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        async with streamable_http_client(os.environ["POSSE_URL"] + "/mcp", http_client=client) as streams:
            async with ClientSession(*streams[:2]) as session:
                began = await session.initialize()
                assert began.server_info.name == "posse", began
                listed = await session.list_tools()
                names = [tool.name for tool in listed.tools]
                assert names[:3] == ["operation_search", "operation_describe", "operation_call"], names
                assert 3 < len(names) <= 40, len(names)
                size = len(listed.model_dump_json(exclude_none=True))
                # The SDK checks structured content against the tool's output schema, so each success is that too.
                me = await session.call_tool("me_get", {})
                assert not me.is_error and me.structured_content["kind"] == "user", me
                made = await session.call_tool("tenant_create", {"name": f"sdk-{uuid.uuid4().hex[:8]}"})
                assert not made.is_error, made
                inner = {"operation": "tenant.get", "input": {"tenant": made.structured_content["id"]}}
                got = await session.call_tool("operation_call", inner)
                assert not got.is_error and "tenant_" in json.dumps(got.structured_content), got
                wrong = await session.call_tool("tenant_get", {"tenant": "tenant_1", "colour": "red"})
                assert wrong.is_error and wrong.structured_content["status"] == 422, wrong
                print(f"python sdk: {len(names)} tools in {size} bytes, protocol {began.protocol_version}")


asyncio.run(main())
