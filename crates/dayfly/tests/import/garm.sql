-- The tables of GARM 0.2, as far as they matter.
CREATE TABLE github_endpoints (name TEXT PRIMARY KEY, base_url TEXT);
CREATE TABLE repositories (id TEXT PRIMARY KEY, deleted_at DATETIME, credentials_name TEXT, owner TEXT, name TEXT, webhook_secret BLOB, endpoint_name TEXT);
CREATE TABLE organizations (id TEXT PRIMARY KEY, deleted_at DATETIME, credentials_name TEXT, name TEXT, webhook_secret BLOB, endpoint_name TEXT);
CREATE TABLE enterprises (id TEXT PRIMARY KEY, deleted_at DATETIME, credentials_name TEXT, name TEXT, webhook_secret BLOB, endpoint_name TEXT);
CREATE TABLE tags (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE pool_tags (pool_id TEXT, tag_id TEXT);
CREATE TABLE pools (id TEXT PRIMARY KEY, created_at DATETIME, deleted_at DATETIME, provider_name TEXT, runner_prefix TEXT, max_runners INTEGER,
  min_idle_runners INTEGER, image TEXT, flavor TEXT, os_type TEXT, os_arch TEXT, enabled NUMERIC, extra_specs JSON, git_hub_runner_group TEXT,
  repo_id TEXT, org_id TEXT, enterprise_id TEXT, priority INTEGER);
CREATE TABLE scale_sets (id INTEGER PRIMARY KEY, created_at DATETIME, deleted_at DATETIME, name TEXT, provider_name TEXT, runner_prefix TEXT,
  max_runners INTEGER, min_idle_runners INTEGER, image TEXT, flavor TEXT, os_type TEXT, os_arch TEXT, enabled NUMERIC, extra_specs JSON,
  git_hub_runner_group TEXT, repo_id TEXT, org_id TEXT, enterprise_id TEXT);
INSERT INTO github_endpoints VALUES ('github.com', 'https://github.com'), ('ghes', 'https://ghes.example.com');
INSERT INTO organizations VALUES ('o1', NULL, 'acme-app', 'acme', x'00', 'github.com');
INSERT INTO repositories VALUES ('r1', NULL, 'tools', 'acme', 'tools', x'00', 'ghes'), ('r2', '2026-01-01', 'tools', 'acme', 'gone', x'00', NULL);
INSERT INTO tags VALUES ('t1', 'self-hosted'), ('t2', 'linux'), ('t3', 'small');
INSERT INTO pools VALUES
  ('5f2c0b9e-0000-4000-8000-000000000001', '2026-01-01', NULL, 'lxd_local', 'garm', 10, 2, 'ubuntu_daily:24.04', 'default', 'linux', 'amd64', 1, '{}', 'Builders', NULL, 'o1', NULL, 5),
  ('5f2c0b9e-0000-4000-8000-000000000002', '2026-01-02', NULL, 'old', 'garm', 3, 0, 'builder', 'big', 'linux', 'amd64', 0, '{"extra_packages": ["git"]}', '', 'r1', NULL, NULL, 0),
  ('5f2c0b9e-0000-4000-8000-000000000003', '2026-01-03', NULL, 'lxd_local', 'garm', 3, 0, 'win', 'big', 'windows', 'amd64', 1, NULL, '', 'r1', NULL, NULL, 0),
  ('5f2c0b9e-0000-4000-8000-000000000004', '2026-01-04', NULL, 'cloud', 'garm', 3, 0, 'ubuntu', 'm1', 'linux', 'amd64', 1, NULL, '', 'r1', NULL, NULL, 0),
  ('5f2c0b9e-0000-4000-8000-000000000005', '2026-01-05', '2026-01-06', 'lxd_local', 'garm', 3, 0, 'gone', 'm1', 'linux', 'amd64', 1, NULL, '', 'r1', NULL, NULL, 0);
INSERT INTO pool_tags VALUES ('5f2c0b9e-0000-4000-8000-000000000001', 't1'), ('5f2c0b9e-0000-4000-8000-000000000001', 't2'),
  ('5f2c0b9e-0000-4000-8000-000000000001', 't3'), ('5f2c0b9e-0000-4000-8000-000000000002', 't2');
INSERT INTO scale_sets VALUES (1, '2026-01-01', NULL, 'Fast_Set', 'lxd_local', 'garm', 7, 1, 'ubuntu_daily:24.04', 'default', 'linux', 'amd64', 1, NULL, 'Default', NULL, 'o1', NULL);
