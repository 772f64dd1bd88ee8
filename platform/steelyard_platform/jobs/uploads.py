"""Pictures as they come in a request, as files of a form or as base64 in JSON, for both faces that take them."""

from __future__ import annotations

import base64
import binascii

from django.http import HttpRequest
from pydantic import ValidationError

from steelyard_contracts.errors import InvalidInputError, TooLargeError
from steelyard_contracts.prediction import LARGEST_REQUEST, PredictionRequest, PredictionState, PredictionView
from steelyard_contracts.wire import faults_in_words
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import predictions
from steelyard_platform.repos.models import Version

_WAIT_SECONDS = 15.0
# base64 is a third longer; the rest is for the form's own words.
_LARGEST_BODY = LARGEST_REQUEST * 4 // 3 + 1024 * 1024


def answered(request: HttpRequest, version: Version, actor: Actor) -> PredictionView:
    """From a request with pictures, in either form, to what is known after a short wait.

    Raises: InvalidInputError for what cannot be read, also where the worker found that; the errors of asking.
    """
    pictures, top, threshold = _read(request)
    job = predictions.ask(version=version, pictures=pictures, top=top, threshold=threshold, actor=actor)
    view = predictions.wait(job.pk, _WAIT_SECONDS)
    if view.state is PredictionState.FAILED:
        raise InvalidInputError(view.error or "The prediction failed.")
    return view


def _read(request: HttpRequest) -> tuple[list[bytes], int, float]:
    """(pictures, top, threshold). Raises: InvalidInputError, TooLargeError."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > _LARGEST_BODY:
        raise TooLargeError(f"The pictures have more than {LARGEST_REQUEST} bytes together; send fewer at once.")
    try:
        if request.content_type == "multipart/form-data":
            said = {key: request.POST[key] for key in ("top", "threshold") if request.POST.get(key)}
            files = [file.read() for file in request.FILES.getlist("pictures")]
            options = PredictionRequest.model_validate({"pictures": ["-"], **said})
            return files, options.top, options.threshold
        options = PredictionRequest.model_validate_json(request.read(_LARGEST_BODY))
        pictures = [base64.b64decode(text, validate=True) for text in options.pictures]
    except ValidationError as error:
        raise InvalidInputError(f"The request is malformed: {faults_in_words(error)}.") from error
    except binascii.Error as error:
        raise InvalidInputError("A picture is no base64.") from error
    return pictures, options.top, options.threshold
