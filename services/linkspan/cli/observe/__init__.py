"""What watches Linkspan from outside, generated: the list of metrics, alerts, dashboards."""
