"""Who may do what: keys and signatures of access URLs. Secrets live here and are never logged."""
