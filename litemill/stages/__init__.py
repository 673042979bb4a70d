"""What needs several rooms: prepare, import, compare, release."""
