"""HTTP/1.1 connections: the protocol class for uvicorn, its limits, and its checks of message boundaries."""
