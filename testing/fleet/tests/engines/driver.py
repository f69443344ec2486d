"""Runs what it reads, a JSON object a line with an SQL text, on an engine; answers each with a line:
the rows as a list of objects, or an object with the error. A path makes it ClickHouse, kept there;
without one it is DuckDB."""

import json
import sys


def clickhouse(path):
    from chdb import session

    opened = session.Session(path)

    def query(sql):
        text = str(opened.query(sql, "JSONEachRow"))
        return [json.loads(line) for line in text.splitlines() if line]

    return query


def duckdb():
    import duckdb

    opened = duckdb.connect()

    def query(sql):
        result = opened.execute(sql)
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row)) for row in result.fetchall()]

    return query


query = clickhouse(sys.argv[1]) if len(sys.argv) > 1 else duckdb()
for line in sys.stdin:
    try:
        answer = query(json.loads(line)["sql"])
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer, default=str), flush=True)
