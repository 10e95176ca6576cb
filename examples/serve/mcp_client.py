"""Search, ask and read over the Model Context Protocol."""

import os
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main(question: str) -> None:
    url = os.environ.get("OPENBOOK_URL", "http://127.0.0.1:8421")
    headers = {"Authorization": f"Bearer {os.environ.get('OPENBOOK_KEY', 'none')}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        found = await client.call_tool("search", {"question": question, "k": 1})
        print(found.content[0].text)
        answer = await client.call_tool("ask", {"question": question})
        print(answer.content[0].text)
        document = answer.structured_content["citations"][0]["document"]
        print((await client.call_tool("read_document", {"document": document})).content[0].text)


anyio.run(main, sys.argv[1])
