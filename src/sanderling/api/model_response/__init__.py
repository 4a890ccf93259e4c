"""The dialect of `POST /v1/model/response`, Aitronos's."""
