"""The compute process: claims jobs over HTTP and does them with torch. No Django, no database, no store's keys."""
