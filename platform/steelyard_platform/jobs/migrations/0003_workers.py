import uuid

import django.db.models.deletion
from django.db import migrations, models


def name_queues(apps, schema_editor):
    """Small jobs that wait have a queue of their own from now on."""
    apps.get_model("jobs", "Job").objects.filter(kind__in=["inspect", "compare"]).update(queue="compute.quick")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_inspect_action"),
        ("jobs", "0002_protocol"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="resources",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="job",
            name="queue",
            field=models.CharField(default="compute", max_length=80),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["state", "queue", "created_at"], name="jobs_job_queue_idx"),
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=96)),
                ("host", models.CharField(max_length=200)),
                ("capabilities", models.JSONField()),
                ("load", models.JSONField(default=dict)),
                ("is_draining", models.BooleanField(default=False)),
                ("first_seen_at", models.DateTimeField(auto_now_add=True)),
                ("last_seen_at", models.DateTimeField()),
                ("stopped_at", models.DateTimeField(null=True)),
                (
                    "job",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="jobs.job"
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="workers",
                        to="accounts.team",
                    ),
                ),
                (
                    "token",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="workers", to="accounts.token"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("team", "name"), name="worker_name_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(("team", None)), fields=("name",), name="worker_name_unique_for_all"
                    ),
                ],
            },
        ),
        migrations.RunPython(name_queues, migrations.RunPython.noop, elidable=True),
    ]
