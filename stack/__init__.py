"""The course's own processes: embedded PostgreSQL, keyless and Airflow, started and stopped together.

``python -m stack --help`` lists the commands that the Makefile's targets call.
"""
