# What `series_tables` draws: points by series, the older ones packed.

import django.db.models.deletion
from django.db import migrations, models


def _key(name):
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name=name, to="jobs.metricseries"
    )


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_searches")]

    operations = [
        migrations.CreateModel(
            name="MetricSeries",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=250)),
                ("first_step", models.BigIntegerField()),
                ("last_step", models.BigIntegerField()),
                ("last_value", models.FloatField(null=True)),
                ("last_special", models.SmallIntegerField(default=0)),
                ("last_at", models.BigIntegerField(default=0)),
                ("revision", models.BigIntegerField(default=0)),
                ("loose", models.PositiveBigIntegerField(default=0)),
                ("sealed_to", models.BigIntegerField(default=-1)),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="series",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["job", "revision"], name="jobs_metric_job_id_ad0fb9_idx")],
                "constraints": [models.UniqueConstraint(fields=("job", "name"), name="metric_series_unique")],
            },
        ),
        migrations.CreateModel(
            name="LoosePoint",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "series_id", "step", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("series", _key("+")),
                ("step", models.BigIntegerField()),
                ("value", models.FloatField(null=True)),
                ("special", models.SmallIntegerField(default=0)),
                ("at", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="SealedChunk",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "series_id", "first_step", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("series", _key("+")),
                ("first_step", models.BigIntegerField()),
                ("last_step", models.BigIntegerField()),
                ("data", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="SeriesSummary",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "series_id", "step", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("series", _key("+")),
                ("step", models.BigIntegerField()),
                ("low", models.FloatField(null=True)),
                ("high", models.FloatField(null=True)),
                ("total", models.FloatField(default=0)),
                ("count", models.PositiveSmallIntegerField()),
                ("special", models.SmallIntegerField(default=0)),
            ],
        ),
    ]
