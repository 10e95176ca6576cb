#!/usr/bin/env bash
# Upload a file, wait until it is read, search and ask: native.sh FILE QUESTION
set -euo pipefail
url="${OPENBOOK_URL:-http://127.0.0.1:8421}"
call() { curl --fail-with-body -sS -H "Authorization: Bearer ${OPENBOOK_KEY:-none}" "$@"; }
field() { python3 -c 'import functools, json, sys
print(functools.reduce(lambda value, key: value[int(key) if key.isdecimal() else key], sys.argv[1:], json.load(sys.stdin)))' "$@"; }

job=$(call -F "files=@$1" "$url/api/documents" | field job id)
call -N -H 'Accept: text/event-stream' "$url/api/jobs/$job/events" | grep --line-buffered '^data:'
question=$(python3 -c 'import json, sys; print(json.dumps({"question": sys.argv[1]}))' "$2")
call -H 'Content-Type: application/json' -d "$question" "$url/api/search" | field hits 0 text
call -H 'Content-Type: application/json' -d "$question" "$url/api/ask" | field answer
