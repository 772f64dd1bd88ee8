"""Fills MLflow's registry through its own tables; runs in MLflow's environment, where nothing of ours is.

python fill_mlflow.py postgresql://...       the corpus comes on the standard input, a line for each repository
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow.store.model_registry.dbmodels.models import (  # type: ignore[import-not-found]
    SqlModelVersion,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from mlflow.store.model_registry.sqlalchemy_store import (  # type: ignore[import-not-found]
    SqlAlchemyStore,
)

BATCH = 500


def main() -> None:
    SqlAlchemyStore(sys.argv[1])  # makes the tables
    engine = sa.create_engine(sys.argv[1])
    lines = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
    for start in range(0, len(lines), BATCH):
        with engine.begin() as connection:
            fill(connection, lines[start : start + BATCH])
    with engine.begin() as connection:
        connection.execute(sa.text("ANALYZE"))


def fill(connection: sa.Connection, batch: list[dict[str, Any]]) -> None:
    models, versions, tags, aliases = [], [], [], []
    for one in batch:
        at = 1_700_000_000_000 - 60_000 * one["number"]
        # Its descriptions hold 5,000 characters and cannot be searched.
        models.append(
            {"name": one["name"], "creation_time": at, "last_updated_time": at, "description": one["card"][:5000]}
        )
        tags += [{"name": one["name"], "key": key, "value": value} for key, value in one["tags"].items()]
        versions += [
            {
                "name": one["name"],
                "version": number,
                "creation_time": at + number,
                "last_updated_time": at + number,
                "current_stage": "None",
                "status": "READY",
                "source": "models:/m",
                "storage_location": "models:/m",
            }
            for number in range(1, one["versions"] + 1)
        ]
        aliases.append({"name": one["name"], "alias": "production", "version": one["versions"] - 1})
    connection.execute(sa.insert(SqlRegisteredModel), models)
    connection.execute(sa.insert(SqlRegisteredModelTag), tags)
    connection.execute(sa.insert(SqlModelVersion), versions)
    connection.execute(sa.insert(SqlRegisteredModelAlias), aliases)


if __name__ == "__main__":
    main()
