"""Pages about the archive in Airflow's UI: rendered here, guarded by Airflow's login and permissions, without a CDN."""
