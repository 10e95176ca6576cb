"""E-mail as text: the headers people read, the body, and the attachments as inner files. Never follows a link."""

from __future__ import annotations

import email.errors
import email.header
import email.policy
import email.utils
import io
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING

from openbook.errors import ReadError
from openbook.ingest.readers import html, markdown, text, zipped
from openbook.ingest.readers.parsed import Inner, Parsed, iso, one_line, trimmed

if TYPE_CHECKING:
    from oxmsg import Message

_HEADERS = ("From", "To", "Cc", "Date", "Subject")


def read(data: bytes) -> Parsed:
    """An Internet message (.eml); its plain body where there is one, else the HTML one."""
    message = email.message_from_bytes(data, policy=email.policy.default.clone(raise_on_defect=False))
    if not isinstance(message, EmailMessage) or not any(message.get(name) for name in (*_HEADERS, "Message-ID")):
        raise ReadError("not an e-mail message (it has no From, To, Date or Subject)")
    headers = {name: _header(message, name) for name in _HEADERS}
    part = message.get_body(preferencelist=("plain", "html"))
    body = _content(part) if isinstance(part, EmailMessage) else ""
    if isinstance(part, EmailMessage) and part.get_content_type() == "text/html":
        body = _from_html(body)
    return _mail(headers, body, _date(headers["Date"]), _attachments(message, part))


def read_msg(data: bytes) -> Parsed:
    """An Outlook message (.msg)."""
    from oxmsg import Message

    message = Message.load(io.BytesIO(data))
    sent = message.sent_date
    recipients = ((recipient.name or "", recipient.email_address or "") for recipient in message.recipients)
    people = [
        f"{name} <{address}>" if name and address and name != address else name or address
        for name, address in recipients
    ]
    headers = {
        "From": _decoded(message.sender or ""),
        "To": ", ".join(filter(None, people)),
        "Date": sent.isoformat(" ") if sent else "",
        "Subject": message.subject or "",
    }
    body = message.body or ""
    if not body.strip() and message.html_body:
        body = _from_html(message.html_body)
    return _mail(headers, body, iso(sent), _msg_attachments(message))


def _mail(headers: dict[str, str], body: str, created: str, inner: Iterator[Inner]) -> Parsed:
    shown = {name: one_line(value) for name, value in headers.items()}
    head = "\n".join(f"{name}: {value}" for name, value in shown.items() if value)
    return Parsed(
        trimmed(f"{head}\n\n{body}"), title=shown["Subject"], author=shown["From"], created=created, inner=inner
    )


def _attachments(message: EmailMessage, body: object) -> Iterator[Inner]:
    """Every part but the body and its alternatives; forwarded mails keep their own headers."""
    if not message.is_multipart():
        return
    number = 0
    for part in message.iter_attachments():
        number += 1
        if not isinstance(part, EmailMessage) or part is body:
            continue
        name = zipped.harmless(part.get_filename() or "") if part.get_filename() else f"attachment-{number}"
        if part.get_content_type() == "message/rfc822":
            content = part.get_payload()
            forwarded = content[0] if isinstance(content, list) and content else None
            if isinstance(forwarded, EmailMessage):
                yield Inner(name if name.endswith(".eml") else f"{name}.eml", forwarded.as_bytes())
            continue
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes) and not (part.get_content_maintype() == "image" and part.get("Content-ID")):
            yield Inner(name, payload)


def _msg_attachments(message: Message) -> Iterator[Inner]:
    for number, attachment in enumerate(message.attachments, start=1):
        name = zipped.harmless(attachment.file_name or "") if attachment.file_name else f"attachment-{number}"
        content = attachment.file_bytes
        if content is None:
            yield Inner(name, failure="attached by reference, not stored in the mail")
        else:
            yield Inner(name, content)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return ", ".join(str(value) for value in message.get_all(name, []))
    except (ValueError, IndexError, AttributeError, TypeError):  # the standard parser trips over some broken headers
        return ""


def _decoded(header: str) -> str:
    """A raw header's encoded words (`=?UTF-8?B?...?=`) as text."""
    try:
        return str(email.header.make_header(email.header.decode_header(header)))
    except (LookupError, ValueError, email.errors.HeaderParseError):
        return header


def _content(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset("")
    try:
        return payload.decode(charset) if charset else text.decode(payload)[0]
    except (LookupError, UnicodeDecodeError):
        return text.decode(payload)[0]


def _from_html(source: str) -> str:
    return markdown.from_html(html.parse(source)) if source.strip() else ""


def _date(header: str) -> str:
    try:
        found: datetime | None = email.utils.parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        found = None
    return iso(found)
