from django.db import migrations

# A function of our own has a cost of our own: PostgreSQL believes that to cut a card into words costs nothing, and would
# rather do it for every row than look into the index. Nothing waits in the index to be put in order by the next reader.
_INDEX = """
DROP INDEX search_document_words;
CREATE FUNCTION search_words(words text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
    AS $$ BEGIN RETURN array_to_tsvector(string_to_array(words, ' ')); END $$;
CREATE INDEX search_document_words ON repos_searchdocument USING gin (search_words(words)) WITH (fastupdate = off);
"""


def index_words(apps, schema_editor):
    if schema_editor.connection.vendor == 'postgresql':
        schema_editor.execute(_INDEX)


class Migration(migrations.Migration):

    dependencies = [
        ('repos', '0013_trash'),
    ]

    operations = [
        migrations.RunPython(index_words, migrations.RunPython.noop),
    ]
