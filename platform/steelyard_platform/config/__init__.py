"""Puts the apps together: settings, addresses, the web and light-job entry points, and the supervisor."""
