"""The one object store of this process, as the settings describe it."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from steelyard_platform.storage.folder import FolderObjectStore
from steelyard_platform.storage.objects import ObjectStore


@lru_cache(maxsize=1)
def object_store() -> ObjectStore:
    environment = settings.ENVIRONMENT
    if not environment.s3_bucket:
        return FolderObjectStore(environment.var / "objects")
    # boto3 takes a second to import and is not there on an embedded installation's path to a first answer.
    from steelyard_platform.storage import s3

    return s3.connect(
        bucket=environment.s3_bucket,
        endpoint=environment.s3_endpoint,
        public_endpoint=environment.s3_public_endpoint,
        region=environment.s3_region,
        access_key=environment.s3_access_key,
        secret_key=environment.s3_secret_key,
    )
