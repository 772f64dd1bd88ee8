"""The light job that reads the annotations of large datasets."""

from __future__ import annotations

from celery import shared_task

from steelyard_platform.datasets.services import COUNT_DATASET, count_dataset
from steelyard_platform.repos.models import Version


@shared_task(name=COUNT_DATASET, ignore_result=True)
def count_annotations(version: int) -> None:
    found = Version.objects.select_related("repository__team", "branch").filter(pk=version).first()
    if found is not None:  # it may have been deleted meanwhile
        count_dataset(found)
