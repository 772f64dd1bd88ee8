"""Django's settings, derived from `environment.Environment`. Nothing else reads the environment."""

from __future__ import annotations

from urllib.parse import urlsplit

from steelyard_platform.config.environment import ROOT, Environment

ENVIRONMENT = Environment()

BASE_DIR = ROOT
DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret()
PUBLIC_URL = ENVIRONMENT.public_url.rstrip("/")
ALLOWED_HOSTS = [*ENVIRONMENT.allowed_hosts, *filter(None, [urlsplit(PUBLIC_URL).hostname])]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",
    "steelyard_platform.accounts",
    "steelyard_platform.storage",
    "steelyard_platform.repos",
    "steelyard_platform.weights",
    "steelyard_platform.datasets",
    "steelyard_platform.jobs",
    "steelyard_platform.fleet",
    "steelyard_platform.hub",
    "steelyard_platform.ultralytics",
    "steelyard_platform.mlflow",
    "steelyard_platform.api",
    "steelyard_platform.pages",
    "steelyard_platform.config",
]

MIDDLEWARE = [
    "steelyard_platform.config.middleware.EncodedSlashMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "steelyard_platform.config.middleware.ContentSecurityPolicyMiddleware",
    "steelyard_platform.config.middleware.RefusedMethodMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "steelyard_platform.config.urls"
WSGI_APPLICATION = "steelyard_platform.config.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["steelyard_platform.pages.templatetags.steelyard"],
        },
    }
]

DATABASES = {"default": ENVIRONMENT.database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# Behind TLS (a public address that says https) cookies never travel in the clear.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PUBLIC_URL.startswith("https://") else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# Views that take files read the request as a stream; what Django itself would buffer stays small.
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
# Clients ask about thousands of paths in one form.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # A refused request is an answer, not an incident.
    "loggers": {"django.request": {"level": "ERROR"}},
}
