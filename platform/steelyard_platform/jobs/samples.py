"""Pictures that a job leaves on its way, such as predictions after each epoch: few, small, and PNG only.

They lie in the object store under `samples/`. One that is sent again for its name and step takes the former's place.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from uuid import UUID

from django.db import transaction

from steelyard_contracts.errors import ConflictError, InvalidInputError, NotFoundError, TooLargeError
from steelyard_contracts.jobs import SampleView
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.models import Job, Sample
from steelyard_platform.jobs.services import held_job
from steelyard_platform.storage.services import object_store

LARGEST = 2 * 1024 * 1024  # bytes
MOST = 1000  # for each job
LONGEST_SIDE = 4096  # pixels

_NAME = re.compile(r"[A-Za-z0-9_./ -]{1,100}")
_HEADER = struct.Struct(">8sI4sII")  # of a PNG: its mark, then the first block's length, kind, width and height
_MARK = b"\x89PNG\r\n\x1a\n"


def save_sample(*, job_id: UUID, actor: Actor, name: str, step: int, png: bytes) -> Sample:
    """Raises: LeaseLostError, InvalidInputError, TooLargeError, ConflictError when the job has enough of them."""
    return keep_sample(
        held_job(job_id, actor), name=name, step=step, png=png, hold=lambda: held_job(job_id, actor, lock=True)
    )


def keep_sample(job: Job, *, name: str, step: int, png: bytes, hold: Callable[[], object]) -> Sample:
    """For who may write to the job; `hold` keeps others off it while the row is written.

    Raises: InvalidInputError, TooLargeError, ConflictError when the job has enough of them; the errors of `hold`.
    """
    if not _NAME.fullmatch(name) or step < 0:
        raise InvalidInputError(
            "A sample needs a name of at most 100 letters, digits and '_./ -', and a step from 0 on."
        )
    width, height = _size_of(png)
    if not Sample.objects.filter(job=job, name=name, step=step).exists() and job.samples.count() >= MOST:
        raise ConflictError(f"The job has {MOST} samples, the most that are kept; leave fewer, or at fewer steps.")
    key = f"samples/{job.pk.hex}/{step}-{hashlib.sha256(name.encode() + b'/' + png).hexdigest()[:24]}.png"
    object_store().put(key, [png])
    with transaction.atomic():
        hold()
        former = Sample.objects.filter(job=job, name=name, step=step).exclude(object_key=key).first()
        values = {"size": len(png), "width": width, "height": height, "object_key": key}
        sample, _ = Sample.objects.update_or_create(job=job, name=name, step=step, defaults=values)
    if former is not None:
        object_store().delete(former.object_key)
    return sample


def read_sample(job: Job, sample_id: int) -> tuple[Sample, Iterator[bytes]]:
    """Its picture. Raises: NotFoundError."""
    sample = Sample.objects.filter(job=job, pk=sample_id).first()
    if sample is None:
        raise NotFoundError(f"The job has no sample {sample_id}.")
    return sample, object_store().read(sample.object_key)


def view_of_sample(sample: Sample) -> SampleView:
    return SampleView(
        id=sample.pk,
        name=sample.name,
        step=sample.step,
        width=sample.width,
        height=sample.height,
        url=f"/api/v1/jobs/{sample.job_id}/samples/{sample.pk}.png",
    )


def _size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels. Raises: InvalidInputError, TooLargeError."""
    if len(png) > LARGEST:
        raise TooLargeError(f"A sample is at most {LARGEST // 1024 // 1024} MB large; make the picture smaller.")
    if len(png) < _HEADER.size:
        raise InvalidInputError("A sample must be a PNG picture.")
    mark, _, kind, width, height = _HEADER.unpack_from(png)
    if mark != _MARK or kind != b"IHDR" or not width or not height:
        raise InvalidInputError("A sample must be a PNG picture.")
    if max(width, height) > LONGEST_SIDE:
        raise TooLargeError(
            f"A sample is at most {LONGEST_SIDE} pixels wide and high; this one is {width} by {height}."
        )
    return width, height
