"""What can be scraped of us besides what Ray and Ray Serve export: examples/cluster/grafana/valor_ray.json shows it."""
