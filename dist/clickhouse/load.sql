-- Loads JSON lines files of many hosts, one directory for each: {files} is a pattern such as
-- 'records/*/*.jsonl', and the name of the directory becomes the host's.
INSERT INTO tcpclose.incoming
SELECT * REPLACE (extract(_path, '([^/]+)/[^/]+$') AS host)
FROM file({files:String}, JSONEachRow)
SETTINGS
    use_structure_from_insertion_table_in_table_functions = 1,
    input_format_json_ignore_unknown_keys_in_named_tuple = 1
