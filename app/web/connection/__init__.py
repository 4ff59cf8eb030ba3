"""HTTP/1.1 connections: the protocol class for uvicorn, with limits and checks of message boundaries."""
