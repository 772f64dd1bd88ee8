from django.db import migrations, models


def forget(apps, schema_editor):
    """Summaries are made again when somebody looks; the old ones knew one layout."""
    apps.get_model("datasets", "DatasetSummary").objects.all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ("datasets", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(forget, migrations.RunPython.noop),
        migrations.AddField("datasetsummary", "layout", models.CharField(blank=True, max_length=20, default=""), preserve_default=False),
        migrations.AddField("datasetsummary", "tasks", models.JSONField(default=list)),
        migrations.AddField("datasetsummary", "labels", models.JSONField(default=list)),
        migrations.AddField("datasetsummary", "pictures", models.JSONField(default=dict)),
        migrations.AddField("datasetsummary", "faults", models.JSONField(default=list)),
        migrations.AddField("datasetsummary", "fault_count", models.PositiveIntegerField(default=0)),
        migrations.AlterField("datasetsummary", "splits", models.JSONField(default=dict)),
    ]
