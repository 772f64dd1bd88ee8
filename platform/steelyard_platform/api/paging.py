"""How `/api/v1` shows a list: a page and the cursor of the next one."""

from __future__ import annotations

from typing import Generic, TypeVar

from ninja import Schema

Item = TypeVar("Item")


class Page(Schema, Generic[Item]):
    """`next` is the cursor of the following page; null on the last."""

    items: list[Item]
    next: str | None
