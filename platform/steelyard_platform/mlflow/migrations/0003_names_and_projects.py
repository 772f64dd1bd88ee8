from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "__first__"),
        ("mlflow", "0002_webhooks"),
        ("repos", "0015_search_edition"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="experiment", name="mlflow_experiment_unique"),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("project", None)), fields=("team", "name"), name="mlflow_waiting_unique"
            ),
        ),
        migrations.AddIndex(
            model_name="experiment", index=models.Index(fields=["team", "name"], name="mlflow_experiment_name")
        ),
        migrations.AddField(
            model_name="runfile",
            name="project",
            field=models.ForeignKey(
                null=True, on_delete=models.deletion.CASCADE, related_name="mlflow_files", to="repos.repository"
            ),
        ),
    ]
