from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_points_by_series")]

    operations = [migrations.DeleteModel(name="MetricPoint")]
