"""The two databases an archive can lie in, behind one face: transactions, SQL that both take, rows as Arrow."""

import contextlib
import random
import re
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..columns import COLUMNS
from ..exceptions import InputError, ServiceError

_WAITS = ("Could not set lock", "different configuration")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
# One number for all writers of all archives in a PostgreSQL database; any would do.
_WRITER = 0x6465636F6363


def open_engine(url, wait):
    """The engine of an archive's URL: a PostgreSQL one, or the path of a DuckDB file."""
    url = str(url)
    if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        return Postgres(url, wait)
    if "://" in url and not url.startswith("duckdb://"):
        kind = url.partition("://")[0]  # not all of it, which may have a password
        msg = f"'archive' must be the path of a DuckDB file or a postgresql:// URL, not {kind}://"
        raise InputError(msg)
    return DuckDB(url.removeprefix("duckdb://"), wait)


class DuckDB:
    """
    A DuckDB file. One process may write it, or many read: a file that is in use is waited for.

    It is open only while something is read or written, so that others get their turn.
    """

    # Rows are found by the least and largest HEALPix index that DuckDB keeps for each block of them.
    key = ""
    _threads = {}  # noqa: RUF012 (shared on purpose: one lock a file in this process)

    def __init__(self, path, wait):
        self.path, self.wait = Path(path).expanduser().absolute(), wait
        self.url = str(self.path)
        self.lock = self._threads.setdefault(self.url, threading.RLock())

    @property
    def exists(self):
        """Whether there is anything."""
        return self.path.exists()

    def _connect(self, read_only):
        import duckdb

        end = time.monotonic() + self.wait
        while True:
            try:
                return duckdb.connect(self.url, read_only=read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                said = str(error).replace(self.url, "")
                if not any(words in said for words in _WAITS):
                    raise
                if time.monotonic() > end:
                    msg = (
                        f"'archive' {self.url} was in use by another program for {self.wait:g} s; "
                        "try again later, or let a PostgreSQL archive serve several"
                    )
                    raise ServiceError(msg) from error
                time.sleep(random.uniform(0.02, 0.2))

    @contextlib.contextmanager
    def reading(self):
        """A session that only reads."""
        with self.lock, self._open(read_only=True) as session:
            yield session

    @contextlib.contextmanager
    def writing(self):
        """A session whose changes are made together or not at all."""
        with self.lock, self._open(read_only=False) as session:
            session.connection.begin()
            yield session
            session.connection.commit()

    @contextlib.contextmanager
    def _open(self, read_only):
        import duckdb

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect(read_only)
            try:
                yield _DuckSession(connection)
            finally:
                # What was not committed is gone with the connection.
                connection.close()
        except (duckdb.Error, OSError) as error:
            if isinstance(error, ServiceError):
                raise
            raise _trouble(self.url, error) from error


class _DuckSession:
    def __init__(self, connection):
        self.connection = connection

    def rows(self, sql, **values):
        return self.connection.execute(_PARAMETER.sub(r"$\1", sql), values).fetchall()

    execute = rows

    def insert(self, sql):
        """Run an INSERT; the number of rows it made."""
        return self.rows(sql)[0][0]

    def arrow(self, names, where):
        """Columns ``names`` of the rows that ``where`` (FROM and on) says, as an Arrow table."""
        listed = ", ".join(f'"{name}"' for name in names)
        return self.connection.sql(f"SELECT {listed} {where}").to_arrow_table()

    def columns(self, table):
        return [
            name for (name,) in self.rows("SELECT column_name FROM duckdb_columns() WHERE table_name = :t", t=table)
        ]

    def stage(self, arrow):
        """Make ``stage`` a table of these rows, in place of the last."""
        self.connection.register("stage", arrow)


class Postgres:
    """A PostgreSQL database, for a group that shares one. Writers take turns; readers never wait."""

    exists = True
    key = ", PRIMARY KEY (selection, healpix, source_id)"

    def __init__(self, url, wait):
        try:
            import psycopg
            import sqlalchemy
        except ImportError as error:
            msg = "'archive' is a PostgreSQL URL, which needs sqlalchemy and psycopg: pip install 'decocc_vo[postgres]'"
            raise InputError(msg) from error
        self.errors = (sqlalchemy.exc.SQLAlchemyError, psycopg.Error)
        try:
            parsed = sqlalchemy.make_url(re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url))
        except (sqlalchemy.exc.ArgumentError, ValueError) as error:
            msg = "'archive' is no PostgreSQL URL; write it as postgresql://user@host:port/database"
            raise InputError(msg) from error
        options = {"connect_timeout": 10, "options": f"-c lock_timeout={int(wait * 1000)}"}
        # No connection outlives its session: an archive needs no closing.
        self.engine = sqlalchemy.create_engine(parsed, connect_args=options, poolclass=sqlalchemy.NullPool)
        self.url = parsed.set(drivername="postgresql").render_as_string(hide_password=True)

    @contextlib.contextmanager
    def reading(self):
        """A session that only reads, all of it from one moment."""
        with self._begin(isolation_level="REPEATABLE READ", postgresql_readonly=True) as session:
            yield session

    @contextlib.contextmanager
    def writing(self):
        """A session whose changes are made together or not at all."""
        with self._begin() as session:
            session.execute(f"SELECT pg_advisory_xact_lock({_WRITER})")
            yield session

    @contextlib.contextmanager
    def _begin(self, **options):
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                yield _PostgresSession(connection)
        except self.errors as error:
            raise _trouble(self.url, error) from error


class _PostgresSession:
    def __init__(self, connection):
        self.connection = connection

    def execute(self, sql, **values):
        import sqlalchemy

        return self.connection.execute(sqlalchemy.text(sql), values)

    def insert(self, sql):
        """Run an INSERT; the number of rows it made."""
        rows = self.execute(sql).rowcount
        if rows:  # the planner must know of them before autovacuum comes around
            self.execute("ANALYZE stars (selection, healpix, source_id)")
        return rows

    def rows(self, sql, **values):
        return [tuple(row) for row in self.execute(sql, **values)]

    def _cursor(self):
        return self.connection.connection.driver_connection.cursor()

    def arrow(self, names, where):
        # COPY sends rows of one size, which numpy reads as they come; psycopg would take them apart value by value.
        listed = ", ".join(_never_null(name) for name in names)
        dtypes = [np.dtype(COLUMNS[name].dtype) for name in names]
        data = bytearray()
        with self._cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")  # to compile all these expressions takes longer than to read a cone
            with cursor.copy(f"COPY (SELECT {listed} {where}) TO STDOUT (FORMAT binary)") as copy:
                for part in copy:
                    data += part
        rows = np.frombuffer(memoryview(data)[len(_HEADER) : -len(_TRAILER)], _record(dtypes))
        columns = {}
        for index, (name, dtype) in enumerate(zip(names, dtypes, strict=True)):
            values = rows[f"v{index}"].astype(dtype)
            missing = np.isnan(values) if dtype.kind == "f" else values == np.iinfo(dtype).min
            columns[name] = pa.array(values, mask=missing)
        return pa.table(columns)

    def columns(self, table):
        sql = (
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = :t AND table_schema = current_schema()"
        )
        return [name for (name,) in self.rows(sql, t=table)]

    def stage(self, arrow):
        """Make ``stage`` a view of these rows, in place of the last."""
        types = [column.type.to_pandas_dtype() for column in arrow.columns]
        kinds = [_SQL[np.dtype(kind).name] for kind in types]
        names = [f'"{name}"' for name in arrow.column_names]
        self.execute("DROP TABLE IF EXISTS incoming CASCADE")
        columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
        self.execute(f"CREATE TEMPORARY TABLE incoming ({columns}) ON COMMIT DROP")
        rows = np.zeros(len(arrow), _record(np.dtype(kind) for kind in types))
        rows["fields"] = len(names)
        for index, (column, kind) in enumerate(zip(arrow.columns, types, strict=True)):
            rows[f"l{index}"] = np.dtype(kind).itemsize
            empty = np.nan if np.dtype(kind).kind == "f" else np.iinfo(kind).min
            rows[f"v{index}"] = column.fill_null(empty).to_numpy()
        with self._cursor() as cursor, cursor.copy("COPY incoming FROM STDIN (FORMAT binary)") as copy:
            copy.write(_HEADER)
            for start in range(0, len(rows), 2**15):
                copy.write(rows[start : start + 2**15].tobytes())
            copy.write(_TRAILER)
        self.execute("ANALYZE incoming")
        given = ", ".join(f"NULLIF({n}, {_MISSING[k]}) AS {n}" for n, k in zip(names, kinds, strict=True))
        self.execute(f"CREATE TEMPORARY VIEW stage AS SELECT {given} FROM incoming")


# In PostgreSQL's binary formats a number has a fixed size behind its length, a missing one has not: NaN, or the least
# integer, stands for it on the way, which no stored value is. COPY has a signature, flags and the length of an
# extension in front, and -1 fields at the end.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_SQL = {"int16": "smallint", "int32": "integer", "int64": "bigint", "float32": "real", "float64": "double precision"}
_MISSING = {
    "smallint": "'-32768'::smallint",
    "integer": "'-2147483648'::integer",
    "bigint": "'-9223372036854775808'::bigint",
    "real": "'NaN'::real",
    "double precision": "'NaN'::double precision",
}


def _record(dtypes):
    """One row of a binary COPY: the number of fields, then each with its size in front."""
    fields = [("fields", ">i2")]
    for index, dtype in enumerate(dtypes):
        fields += [(f"l{index}", ">i4"), (f"v{index}", dtype.newbyteorder(">"))]
    return np.dtype(fields)


def _never_null(name):
    return f'COALESCE("{name}", {_MISSING[_SQL[COLUMNS[name].dtype]]})'


def _trouble(url, error):
    words = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    msg = f"'archive' {url}: {words}; nothing was changed in it: when this is put right, run the same again"
    return ServiceError(msg)
