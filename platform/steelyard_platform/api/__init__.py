"""The platform's own REST API: `/api/v1` for people and workers, `/api/device/v1` for devices."""
