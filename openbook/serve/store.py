"""What the server remembers, in .openbook/server.db: keys, sessions, conversations, feedback, files, jobs.

SQLAlchemy tables and an engine; modules of the server make their own queries. Rows of one caller carry its id as
`owner`. Times are unix seconds (UTC).
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

TABLES = sa.MetaData()
UNFINISHED = ("queued", "running", "paused")
"""States of jobs that go on."""

KEYS = sa.Table(
    "keys",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("all_groups", sa.Boolean, nullable=False, default=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("revoked", sa.Float),
    sa.Column("used", sa.Float),
)
SESSIONS = sa.Table(
    "sessions",
    TABLES,
    sa.Column("id", sa.String, primary_key=True, doc="sha256 of the cookie"),
    sa.Column("caller", sa.JSON, nullable=False),
    sa.Column("csrf", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
CONVERSATIONS = sa.Table(
    "conversations",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
)
ANSWERS = sa.Table(
    "answers",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("conversation", sa.String, nullable=False, index=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column("question", sa.String, nullable=False),
    sa.Column("arm", sa.String, nullable=False),
    sa.Column("adapter", sa.String),
    sa.Column("answer", sa.JSON, nullable=False, doc="openbook.wire.answer_json"),
    sa.Column("groups", sa.JSON, nullable=False, doc="the asker's, when it was asked"),
    sa.Column("at", sa.Float, nullable=False),
)
REVIEW = sa.Table(
    "review",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("answer", sa.String, nullable=False, index=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False, doc="up, down, edit, refusal"),
    sa.Column("reason", sa.String, nullable=False, default=""),
    sa.Column("correction", sa.String, nullable=False, default=""),
    sa.Column("state", sa.String, nullable=False, default="pending", doc="pending, accepted, rejected"),
    sa.Column("result", sa.JSON, doc="the case or example as accepted"),
    sa.Column("reviewer", sa.String),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("reviewed", sa.Float),
)
FILES = sa.Table(
    "files",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
JOBS = sa.Table(
    "jobs",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column(
        "caller", sa.JSON, nullable=False, doc="access.Caller.json(), so that a job acts with its maker's rights"
    ),
    sa.Column("args", sa.JSON, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("result", sa.JSON),
    sa.Column("error", sa.String, nullable=False, default=""),
    sa.Column("wish", sa.String, nullable=False, default="", doc="cancel or pause, until it has come about"),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
)
EVENTS = sa.Table(
    "events",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("event", sa.JSON, nullable=False),
)


def open_store(file: Path) -> sa.Engine:
    """The database, made when it is new. Only this user may read the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    TABLES.create_all(engine)
    return engine


def copy_store(file: Path, to: Path) -> None:
    """Write a copy of the database for a backup, whole though a server may be writing.

    Nobody is logged in there, and work that needs what a backup does not hold has failed.
    """
    with closing(sqlite3.connect(file)) as here, closing(sqlite3.connect(to)) as there:
        here.backup(there)
    to.chmod(0o600)
    engine = open_store(to)
    begun = sa.and_(JOBS.c.kind.in_(("preflight", "train", "compare")), JOBS.c.state.in_(UNFINISHED))
    said = "it had not ended when the backup was made; start it again"
    with engine.begin() as db:
        db.execute(sa.delete(SESSIONS))
        db.execute(sa.update(JOBS).where(begun).values(state="failed", error=said, wish="", ended=time.time()))
    with engine.connect() as db:
        db.exec_driver_sql("PRAGMA journal_mode=DELETE")  # one file again
        db.exec_driver_sql("VACUUM")  # what was deleted is not in it either
    engine.dispose()


def new_id(prefix: str) -> str:
    """An id nobody can guess: "job-3f9a...".

    >>> new_id("job")[:4], len(new_id("job"))
    ('job-', 28)
    """
    return f"{prefix}-{secrets.token_hex(12)}"
