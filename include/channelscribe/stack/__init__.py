"""The embedded stack: Postgres, Airflow and the demo channel on one machine."""
