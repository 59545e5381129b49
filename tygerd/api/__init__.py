"""The API: a file a resource. Handlers decode, call one service and render; they hold no logic and no state."""
