"""Objects on S3, or any server that speaks it. The only module that imports boto3.

Whole or not at all comes from S3 itself: an object appears when its PUT or its multipart upload completes.
boto3's CRT client ignores `endpoint_url`; only the classic one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from steelyard_contracts.errors import InvalidInputError, UnavailableError
from steelyard_platform.storage.objects import (
    CHUNK,
    Fragment,
    ObjectExistsError,
    ObjectInfo,
    ObjectMissingError,
    Part,
    SignedRanges,
    check_key,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Each upload that runs holds two or three.
PART_SIZE = 8 * 1024 * 1024
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_PRECONDITION = frozenset({"412", "PreconditionFailed"})
_BAD_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "NoSuchUpload", "EntityTooSmall"})


class S3ObjectStore:
    """Keeps the promises of `ObjectStore` with a bucket. `client` moves bytes, `public_client` only signs."""

    def __init__(self, client: S3Client, bucket: str, public_client: S3Client | None = None) -> None:
        self.client = client
        self.bucket = bucket
        self.public_client = public_client or client

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        blocks = _blocks(chunks, PART_SIZE)
        held = [next(blocks, b"")]
        with _border(key):
            if len(held[0]) < PART_SIZE:
                self.client.put_object(Bucket=self.bucket, Key=check_key(key), Body=held[0], **condition)
            else:
                self._put_parts(key, _before(held, blocks), condition)
        return self.stat(key)

    def _put_parts(self, key: str, blocks: Iterator[bytes], condition: dict[str, Any]) -> None:
        upload = self.start_parts(key)
        try:
            done: list[Any] = []
            for number, block in enumerate(blocks, start=1):
                answer = self.client.upload_part(
                    Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=block
                )
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
            self.client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}, **condition
            )
        except BaseException:
            with suppress(
                InvalidInputError, UnavailableError
            ):  # what broke first is told; garbage collection tidies up
                self.abort_parts(key, upload)
            raise

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if end is not None and end <= start:
            return iter(())
        span: dict[str, Any] = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end else {}
        with _border(key):
            body = self.client.get_object(Bucket=self.bucket, Key=check_key(key), **span)["Body"]
        return _stream(key, body)

    def stat(self, key: str) -> ObjectInfo:
        with _border(key):
            answer = self.client.head_object(Bucket=self.bucket, Key=check_key(key))
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"])

    def delete(self, key: str) -> None:
        with _border(key):
            self.client.delete_object(Bucket=self.bucket, Key=check_key(key))

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        with _border(prefix):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ObjectInfo(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])

    def move(self, source: str, target: str, *, if_etag: str) -> None:
        self.copy(source, target, if_etag=if_etag)
        self.delete(source)

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        with _border(source):
            self.client.copy(
                {"Bucket": self.bucket, "Key": check_key(source)},
                self.bucket,
                check_key(target),
                ExtraArgs={"CopySourceIfMatch": f'"{if_etag}"'},
                Config=TransferConfig(preferred_transfer_client="classic"),
            )

    def start_parts(self, key: str) -> str:
        with _border(key):
            return self.client.create_multipart_upload(Bucket=self.bucket, Key=check_key(key))["UploadId"]

    def finish_parts(self, key: str, upload: str, parts: list[Part]) -> ObjectInfo:
        listed: list[Any] = [
            {"PartNumber": part.number, "ETag": part.etag} for part in sorted(parts, key=lambda part: part.number)
        ]
        with _border(key):
            self.client.complete_multipart_upload(
                Bucket=self.bucket, Key=check_key(key), UploadId=upload, MultipartUpload={"Parts": listed}
            )
        return self.stat(key)

    def abort_parts(self, key: str, upload: str) -> None:
        with _border(key):
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=check_key(key), UploadId=upload)

    def fragments(self) -> Iterator[Fragment]:
        with _border("uploads in parts"):
            for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
                for item in page.get("Uploads", []):
                    key, upload = item["Key"], item["UploadId"]
                    yield Fragment(key, upload, self._size_of_parts(key, upload), item["Initiated"])

    def _size_of_parts(self, key: str, upload: str) -> int:
        pages = self.client.get_paginator("list_parts").paginate(Bucket=self.bucket, Key=key, UploadId=upload)
        return sum(part["Size"] for page in pages for part in page.get("Parts", []))

    def drop_fragment(self, fragment: Fragment) -> None:
        with suppress(InvalidInputError):  # it has ended meanwhile
            self.abort_parts(fragment.key, fragment.upload)

    def signed_get(self, key: str, seconds: int, *, filename: str, content_type: str) -> str | None:
        parameters = {
            "ResponseContentDisposition": f'inline; filename="{filename}"',
            "ResponseContentType": content_type,
        }
        return self._sign("get_object", seconds, Key=check_key(key), **parameters)

    def signed_ranges(self, key: str, seconds: int, spans: list[tuple[int, int]]) -> list[SignedRanges]:
        # S3 serves one range a request. It is part of what is signed, so the address opens nothing else.
        return [
            SignedRanges(
                self._sign("get_object", seconds, Key=check_key(key), Range=f"bytes={start}-{end - 1}"), [(start, end)]
            )
            for start, end in spans
        ]

    def signed_put(self, key: str, seconds: int) -> str:
        return self._sign("put_object", seconds, Key=check_key(key))

    def signed_part(self, key: str, upload: str, number: int, seconds: int) -> str:
        return self._sign("upload_part", seconds, Key=check_key(key), UploadId=upload, PartNumber=number)

    def _sign(self, operation: str, seconds: int, **parameters: Any) -> str:
        return self.public_client.generate_presigned_url(
            operation, Params={"Bucket": self.bucket, **parameters}, ExpiresIn=seconds
        )


def connect(
    *, bucket: str, endpoint: str, public_endpoint: str, region: str, access_key: str, secret_key: str
) -> S3ObjectStore:
    """A store on `bucket`, which is made when it does not exist. Empty strings mean boto3's own defaults."""

    def client(address: str) -> S3Client:
        made: S3Client = boto3.client(
            "s3",
            endpoint_url=address or None,
            region_name=region,
            aws_access_key_id=access_key or None,
            aws_secret_access_key=secret_key or None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                max_pool_connections=32,
                retries={"total_max_attempts": 5, "mode": "standard"},
            ),
        )
        return made

    store = S3ObjectStore(client(endpoint), bucket, client(public_endpoint) if public_endpoint else None)
    with _border(bucket):
        _make_bucket(store.client, bucket)
    return store


def _make_bucket(client: S3Client, bucket: str) -> None:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if _code(error) not in _MISSING | {"NoSuchBucket"}:
            raise
        client.create_bucket(Bucket=bucket)


@contextmanager
def _border(key: str) -> Iterator[None]:
    """boto3's errors become ours here, and nowhere else."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in _MISSING:
            raise ObjectMissingError(f"There is no object {key}.") from error
        if code in _PRECONDITION:
            raise ObjectExistsError(f"The object {key} is not in the state that was asked for.") from error
        if code in _BAD_PARTS:
            raise InvalidInputError("A part is missing or not the one that was sent; send it again.") from error
        raise UnavailableError("The object store refused a request; see the server's log.") from error
    except BotoCoreError as error:
        raise UnavailableError("The object store cannot be reached; try again shortly.") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _stream(key: str, body: Any) -> Iterator[bytes]:
    read: Callable[[int], bytes] = body.read
    try:
        with _border(key):
            while chunk := read(CHUNK):
                yield chunk
    finally:
        body.close()


def _blocks(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of exactly `size`, the last one shorter.

    Many uploads run at once: nothing here keeps a block that was handed out.
    """
    pending: list[bytes] = []
    length = 0
    for chunk in chunks:
        start = 0
        while length + len(chunk) - start >= size:
            end = start + size - length
            pending.append(chunk[start:end])
            start, length = end, 0
            yield _joined(pending)
        pending.append(chunk[start:])
        length += len(chunk) - start
    if length:
        yield _joined(pending)


def _joined(pending: list[bytes]) -> bytes:
    block = b"".join(pending)
    pending.clear()
    return block


def _before(held: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield held.pop()
    yield from rest
