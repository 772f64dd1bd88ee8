from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('repos', '0014_word_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='searchdocument',
            name='edition',
            field=models.PositiveSmallIntegerField(db_index=True, default=0),
        ),
    ]
