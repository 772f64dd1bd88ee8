"""The web process's entry point for any WSGI server: `gunicorn steelyard_platform.config.wsgi`.

WSGI on purpose: under ASGI a synchronous stream of a large file is buffered whole in memory.
"""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "steelyard_platform.config.settings")  # noqa: TID251 - Django's own switch

application = get_wsgi_application()
# Every page's code, before the first request asks for it, and once for all processes of the web.
_ = get_resolver().url_patterns
