"""Pictures of reports: in colours that everybody tells apart, with markers and dashes for print in grey."""
