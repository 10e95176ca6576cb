"""Openbook as the model of a LangChain chain."""

import os
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

url = os.environ.get("OPENBOOK_URL", "http://127.0.0.1:8421")
model = ChatOpenAI(base_url=f"{url}/v1", api_key=os.environ.get("OPENBOOK_KEY", "none"), model="rag")
chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | model | StrOutputParser()
print(chain.invoke({"question": sys.argv[1]}))
