# What jobs have measured so far moves to the new tables.

from django.db import migrations

_SERIES = """
INSERT INTO jobs_metricseries
    (job_id, name, first_step, last_step, last_value, last_special, last_at, revision, loose, sealed_to)
SELECT span.job_id, span.name, span.first_step, span.last_step, newest.value, 0, 0, 1, span.points, -1
FROM (
    SELECT job_id, name, min(step) AS first_step, max(step) AS last_step, count(*) AS points
    FROM jobs_metricpoint GROUP BY job_id, name
) AS span
JOIN jobs_metricpoint AS newest
    ON newest.job_id = span.job_id AND newest.name = span.name AND newest.step = span.last_step
"""
_POINTS = """
INSERT INTO jobs_loosepoint (series_id, step, value, special, at)
SELECT series.id, point.step, point.value, 0, 0
FROM jobs_metricpoint AS point
JOIN jobs_metricseries AS series ON series.job_id = point.job_id AND series.name = point.name
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_series")]

    operations = [
        migrations.RunSQL(_SERIES, migrations.RunSQL.noop),
        migrations.RunSQL(_POINTS, migrations.RunSQL.noop),
    ]
