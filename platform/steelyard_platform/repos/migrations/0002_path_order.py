"""Paths sort by their bytes on every database, whatever language the operator's PostgreSQL was set up for."""

from django.db import migrations


def sort_by_bytes(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute('ALTER TABLE repos_entry ALTER COLUMN path TYPE varchar(1024) COLLATE "C"')


class Migration(migrations.Migration):
    dependencies = [("repos", "0001_initial")]
    operations = [migrations.RunPython(sort_by_bytes, migrations.RunPython.noop)]
