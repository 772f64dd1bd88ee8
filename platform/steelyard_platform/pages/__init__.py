"""The dashboard: server-rendered pages, made live by htmx; assets are vendored, none from another host."""
