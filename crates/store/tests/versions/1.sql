PRAGMA application_id = 1685677676;
PRAGMA user_version = 1;
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
INSERT INTO meta VALUES ('controller', '00000000-0000-0000-0000-c0ffee001234');
INSERT INTO meta VALUES ('clock', '2026-09-21T14:13:30.123456789Z');
CREATE TABLE runners (
        name TEXT PRIMARY KEY NOT NULL,
        pool TEXT NOT NULL,
        phase TEXT NOT NULL,
        generation BIGINT NOT NULL,
        data TEXT NOT NULL
    );
INSERT INTO runners VALUES ('linux-small-ureabaaaaaaaaa', 'linux-small', 'planned', 1, '{"name":"linux-small-ureabaaaaaaaaa","backend":"here","mark":"0123456789abcdef","generation":1,"created_at":"2026-09-21T14:13:20.123456789Z","instance":{"state":"planned","since":"2026-09-21T14:13:20.123456789Z"},"registration":{"state":"none"},"retiring":null,"had_job":false,"online_since":null,"instance_attempt":null,"registration_attempt":null}');
INSERT INTO runners VALUES ('linux-small-ureacaaaaaaaaa', 'linux-small', 'planned', 1, '{"name":"linux-small-ureacaaaaaaaaa","backend":"here","mark":"0123456789abcdef","generation":1,"created_at":"2026-09-21T14:13:20.123456789Z","instance":{"state":"planned","since":"2026-09-21T14:13:20.123456789Z"},"registration":{"state":"none"},"retiring":null,"had_job":false,"online_since":null,"instance_attempt":null,"registration_attempt":null}');
CREATE TABLE pools (name TEXT PRIMARY KEY NOT NULL, generation BIGINT NOT NULL, data TEXT NOT NULL);
INSERT INTO pools VALUES ('linux-small', 1, '{"name":"linux-small","generation":1,"scale_set":{"state":"present","id":7,"group":1,"scope":"acme","name":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","labels":["linux"],"made":true},"session":{"state":"open","id":"session","since":"2026-09-21T14:13:21.123456789Z"},"cursor":5,"newest":9,"unacknowledged":[8,9],"statistics":[{"available":0,"acquired":0,"assigned":4294967295,"running":0,"registered":0,"busy":0,"idle":0},"2026-09-21T14:13:22.123456789Z"],"drained":"2026-09-21T14:13:23.123456789Z","deleting":"2026-09-21T14:13:24.123456789Z"}');
CREATE TABLE jobs (pool TEXT NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (pool, id));
INSERT INTO jobs VALUES ('linux-small', 'a', '{"id":"a","request_id":-9223372036854775808,"repository":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","display_name":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","run_id":1,"labels":["it''s \"odd\"; -- \\ \u0000 🚀 \n\t",""],"queued_at":"2026-09-21T14:13:20.123456789Z","state":{"state":"started","since":"2026-09-21T14:13:21.123456789Z","runner":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"},"assignments":3,"message":4}');
INSERT INTO jobs VALUES ('linux-small', CAST(X'6974277320226f6464223b202d2d205c200020f09f9a80200a09' AS TEXT), '{"id":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","request_id":-9223372036854775808,"repository":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","display_name":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t","run_id":1,"labels":["it''s \"odd\"; -- \\ \u0000 🚀 \n\t",""],"queued_at":"2026-09-21T14:13:20.123456789Z","state":{"state":"started","since":"2026-09-21T14:13:21.123456789Z","runner":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"},"assignments":3,"message":4}');
CREATE TABLE troubles (key TEXT PRIMARY KEY NOT NULL, data TEXT NOT NULL);
INSERT INTO troubles VALUES ('{"of":"creation","pool":"linux-small","backend":"here","mark":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"}', '{"failures":2,"since":"2026-09-21T14:13:20.123456789Z","last_at":"2026-09-21T14:13:29.123456789Z","next_attempt_at":"9999-12-30T22:00:00.999999999Z","error":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"}');
INSERT INTO troubles VALUES ('{"of":"backend","backend":"here"}', '{"failures":2,"since":"2026-09-21T14:13:20.123456789Z","last_at":"2026-09-21T14:13:29.123456789Z","next_attempt_at":"9999-12-30T22:00:00.999999999Z","error":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"}');
INSERT INTO troubles VALUES ('{"of":"credential","scope":"acme"}', '{"failures":2,"since":"2026-09-21T14:13:20.123456789Z","last_at":"2026-09-21T14:13:29.123456789Z","next_attempt_at":"9999-12-30T22:00:00.999999999Z","error":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"}');
INSERT INTO troubles VALUES ('{"of":"scale_set","pool":"linux-small"}', '{"failures":2,"since":"2026-09-21T14:13:20.123456789Z","last_at":"2026-09-21T14:13:29.123456789Z","next_attempt_at":"9999-12-30T22:00:00.999999999Z","error":"it''s \"odd\"; -- \\ \u0000 🚀 \n\t"}');
