"""The API, a file a resource. Handlers decode, call one service and render: no logic, no state."""
