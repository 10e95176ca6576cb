"""Ask Openbook through the official OpenAI client: an answer with its citations, then one as it is streamed."""

import os
import sys

from openai import OpenAI

url = os.environ.get("OPENBOOK_URL", "http://127.0.0.1:8421")
client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("OPENBOOK_KEY", "none"))
question = [{"role": "user", "content": sys.argv[1]}]

reply = client.chat.completions.create(model="rag", messages=question).choices[0].message
print(reply.content)
for citation in reply.citations:
    print(citation["document"], citation["start"], citation["end"], citation["quote"])

for chunk in client.chat.completions.create(model="rag", messages=question, stream=True):
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")
print()
