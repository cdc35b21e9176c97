"""What Channelscribe adds to Airflow: the operator that runs stages, and how their endings become task states."""
