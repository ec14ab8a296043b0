-- Events by type and time, and the functions with which conditions of segments compare values. They follow
-- domain/audience/comparisons.py to the letter.

CREATE INDEX events_by_time ON events (workspace_id, type, occurred_at, profile_id);

-- The value at a path in a text of JSON. PostgreSQL cannot unescape U+0000, which counts as U+FFFD.
CREATE FUNCTION waypost_json(source text, path text[]) RETURNS json
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(source, '\u0000') > 0
        THEN regexp_replace(source, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::json
        ELSE source::json END #> path
$$;

-- A text as it is compared: in NFC, and letters of four scripts without regard to case.
CREATE FUNCTION waypost_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(value) = char_length(value) THEN lower(value COLLATE "C")
        ELSE translate(normalize(value, NFC),
    'ABCDEFGHIJKLMNOPQRSTUVWXYZµÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘ' ||
    'ŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽſƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƠƢƤƦƧƩƬƮƯƱƲƳƵƷƸƼǄǅǇǈǊǋǍǏǑǓǕǗǙǛǞǠǢǤǦǨǪǬǮǱǲǴǶǷǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖ' ||
    'ȘȚȜȞȠȢȤȦȨȪȬȮȰȲȺȻȽȾɁɃɄɅɆɈɊɌɎͅͰͲͶͿΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫςϏϐϑϕϖϘϚϜϞϠϢϤϦϨϪϬϮϰϱϴϵϷϹϺϽϾϿЀЁЂЃЄЅІ' ||
    'ЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӁӃӅӇӉӋӍӐӒӔӖӘӚӜ' ||
    'ӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨ' ||
    'ḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔẛẞẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶ' ||
    'ỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏ' ||
    'ῼＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ',
    'abcdefghijklmnopqrstuvwxyzμàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗř' ||
    'śŝşšţťŧũūŭůűųŵŷÿźżžsɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵơƣƥʀƨʃƭʈưʊʋƴƶʒƹƽǆǆǉǉǌǌǎǐǒǔǖǘǚǜǟǡǣǥǧǩǫǭǯǳǳǵƕƿǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗ' ||
    'șțȝȟƞȣȥȧȩȫȭȯȱȳⱥȼƚⱦɂƀʉʌɇɉɋɍɏιͱͳͷϳάέήίόύώαβγδεζηθικλμνξοπρστυφχψωϊϋσϗβθφπϙϛϝϟϡϣϥϧϩϫϭϯκρθεϸϲϻͻͼͽѐёђѓєѕі' ||
    'їјљњћќѝўџабвгдежзийклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӂӄӆӈӊӌӎӑӓӕӗәӛӝ' ||
    'ӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩ' ||
    'ḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕṡßạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷ' ||
    'ỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾰᾱὰάᾳιὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώ' ||
    'ῳａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ') END
$$;

-- The number that a value counts as: a number, or text that is a plain decimal.
CREATE FUNCTION waypost_number(value json) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    kind text := json_typeof(value);
    digits text := value #>> '{}';
BEGIN
    IF kind = 'string' THEN
        RETURN CASE WHEN digits ~ '^-?[0-9]{1,15}(\.[0-9]{1,15})?$' THEN digits::double precision END;
    ELSIF kind <> 'number' THEN
        RETURN NULL;
    ELSIF length(digits) < 300 AND strpos(lower(digits), 'e') = 0 THEN
        RETURN digits::double precision;
    END IF;
    BEGIN
        RETURN digits::double precision;
    EXCEPTION WHEN numeric_value_out_of_range THEN
        -- Too close to zero: numbers that are too large are not accepted in JSON.
        RETURN 0;
    END;
END
$$;

-- The time in microseconds since 1970 that a text says: a date, or a date and a time with or without a zone.
CREATE FUNCTION waypost_instant(value text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    parts text[] := regexp_match(value, '^([0-9]{4,4})-([0-9]{2,2})-([0-9]{2,2})'
        '(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,6}))?)?'
        '(?:(Z)|([+-])(0[0-9]|1[0-4]):([0-5][0-9]))?)?$');
    year integer := parts[1];
    month integer := parts[2];
    day integer := parts[3];
    away bigint;
    micros bigint;
BEGIN
    IF parts IS NULL OR year < 1 OR month NOT BETWEEN 1 AND 12 OR day < 1 THEN
        RETURN NULL;
    END IF;
    IF day > 28 AND day > extract(day FROM make_date(year, month, 1) + interval '1 month - 1 day') THEN
        RETURN NULL;
    END IF;
    micros := (make_date(year, month, day) - DATE '1970-01-01')::bigint * 86400000000
        + coalesce(parts[4], '0')::bigint * 3600000000 + coalesce(parts[5], '0')::bigint * 60000000
        + coalesce(parts[6], '0')::bigint * 1000000 + rpad(coalesce(parts[7], '0'), 6, '0')::bigint;
    away := coalesce(parts[10], '0')::bigint * 3600000000 + coalesce(parts[11], '0')::bigint * 60000000;
    RETURN CASE WHEN parts[9] = '-' THEN micros + away ELSE micros - away END;
END
$$;
